"""The report's plots of what each speaker gained."""

from typing import Any

import numpy as np
from matplotlib import figure as figure_lib

from tasks.asr.evaluation import severity as severity_lib
from tasks.asr.evaluation.report import svg

_MARKERS = {"typical": "o", "mild": "s", "moderate": "^", "severe": "D"}
# With the names of their bars, in the order of these.
_SYSTEMS = {"base": "Base", "cohort": "Cohort", "submodel": "Submodel"}
# Of a speaker's place, what all bars take.
_BARS = 0.76
_MAX_BARS = 40
# A lower reduction is drawn here, as an arrow: one speaker with a single base
# error would otherwise flatten all the others.
_LOWEST_REDUCTION = -1.0


def before_after(
    rows: list[dict[str, Any]], target_word_error_rate: float
) -> figure_lib.Figure:
    """Base and Submodel of each speaker: bars, or dots for many speakers.

    Args:
        rows: not empty, from `groups.speaker`.
    """
    draw = _bars if len(rows) <= _MAX_BARS else _ranks
    return draw(rows, 100 * target_word_error_rate)


def _bars(rows, target):
    rows = sorted(rows, key=lambda row: row["base_word_error_rate"])
    rows.sort(key=lambda row: severity_lib.order(row["severity"]))
    figure = svg.figure(0.9 + 0.32 * len(rows))
    axes = figure.subplots()
    systems = _systems(rows)
    height = _BARS / len(systems)
    for number, system in enumerate(systems):
        key = f"{system}_word_error_rate"
        offset = height * (number + 0.5) - _BARS / 2
        places = np.arange(len(rows)) + offset
        axes.barh(
            places,
            _rates(rows, system),
            height=0.95 * height,
            color=svg.COLORS[system],
            # Lighter than the intervals that are drawn over it.
            alpha=0.7,
            label=_SYSTEMS[system],
        )
        for place, row in zip(places, rows, strict=True):
            if row["intervals"][key]:
                axes.plot(
                    [100 * bound for bound in row["intervals"][key]],
                    [place, place],
                    color=svg.COLORS["muted"],
                    linewidth=1.2,
                )
    names = [svg.name(row["speaker"]) for row in rows]
    axes.set_yticks(range(len(rows)), names)
    for tick_label in axes.get_yticklabels():
        tick_label.set_parse_math(False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("Word error rate (%)")
    axes.axvline(target, **svg.RULE, label=f"Target {target:g} %")
    _name_severities(axes, [row["severity"] for row in rows])
    svg.legend(axes)
    return figure


def _systems(rows):
    """The systems that heard somebody."""
    return [
        system
        for system in _SYSTEMS
        if any(row[f"{system}_word_error_rate"] is not None for row in rows)
    ]


def _rates(rows, system):
    """Error rates in percent; NaN, which is not drawn, where there is none."""
    rates = [row[f"{system}_word_error_rate"] for row in rows]
    return [np.nan if rate is None else 100 * rate for rate in rates]


def _name_severities(axes, severities):
    """Names each severity's bars at the right, with lines between them."""
    for severity in dict.fromkeys(severities):
        first = severities.index(severity)
        last = first + severities.count(severity) - 1
        axes.text(
            1.01,
            (first + last) / 2,
            svg.name(severity),
            transform=axes.get_yaxis_transform(),
            va="center",
            parse_math=False,
        )
        if first:
            axes.axhline(first - 0.5, color=svg.COLORS["muted"], linewidth=0.6)


def _ranks(rows, target):
    rows = sorted(rows, key=lambda row: row["base_word_error_rate"])
    figure = svg.figure(4.2)
    axes = figure.subplots()
    ranks = np.arange(1, len(rows) + 1)
    axes.plot(
        ranks,
        _rates(rows, "base"),
        color=svg.COLORS["base"],
        label="Base",
        linewidth=2,
    )
    for system in _systems(rows)[1:]:
        axes.scatter(
            ranks,
            _rates(rows, system),
            s=min(24, 6000 / len(rows)),
            color=svg.COLORS[system],
            alpha=0.7,
            linewidths=0,
            label=_SYSTEMS[system],
        )
    axes.axhline(target, **svg.RULE, label=f"Target {target:g} %")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(rows) + 1)
    axes.set_xlabel("Speakers, by the base's word error rate")
    axes.set_ylabel("Word error rate (%)")
    svg.legend(axes)
    return figure


def gain_by_severity(rows: list[dict[str, Any]]) -> figure_lib.Figure:
    """Relative reduction against the base's error rate; all rows have both."""
    figure = svg.figure(3.8)
    axes = figure.subplots()
    _draw_gains(axes, rows, lambda row: 100 * row["base_word_error_rate"])
    axes.set_xlim(left=0)
    axes.set_xlabel("Word error rate of the base (%)")
    for bound in severity_lib.MEASURED_UPPER_BOUNDS.values():
        axes.axvline(100 * bound, **svg.RULE)
    return figure


def gain_by_minutes(rows: list[dict[str, Any]]) -> figure_lib.Figure:
    """Relative reduction against `train_minutes`; all rows have both."""
    figure = svg.figure(3.8)
    axes = figure.subplots()
    _draw_gains(axes, rows, lambda row: row["train_minutes"])
    minutes = [row["train_minutes"] for row in rows]
    if min(minutes) > 0 and max(minutes) > 10 * min(minutes):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel("Minutes of training speech")
    return figure


def _draw_gains(axes, rows, position):
    """Draws each speaker's reduction, as a mark that shows the severity."""
    area = float(np.clip(6000 / len(rows), 12, 36))
    severities = {row["severity"] for row in rows}
    for severity in sorted(severities, key=severity_lib.order):
        color, marker = svg.color(severity), _MARKERS.get(severity, "v")
        shown: dict[str, Any] = {
            "color": color,
            "alpha": 0.85,
            "linewidths": 0,
            "clip_on": False,
        }
        chosen = [row for row in rows if row["severity"] == severity]
        points = np.array(
            [(position(row), row["relative_reduction"]) for row in chosen]
        )
        is_low = points[:, 1] < _LOWEST_REDUCTION
        places, reductions = points[~is_low].T
        axes.scatter(places, 100 * reductions, area, marker=marker, **shown)
        axes.scatter(
            points[is_low, 0],
            np.full(is_low.sum(), 100 * _LOWEST_REDUCTION),
            70,
            marker="$\u2193$",
            **shown,
        )
        axes.plot([], [], marker, color=color, label=svg.name(severity))
    axes.axhline(0, color=svg.COLORS["muted"], linewidth=1)
    axes.set_ylim(top=105)
    axes.set_ylabel("Relative reduction (%)")
    svg.legend(axes)
