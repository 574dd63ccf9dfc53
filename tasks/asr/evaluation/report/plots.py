"""The report's plots of what each speaker gained."""

import matplotlib
import numpy as np

from tasks.asr.evaluation import groups
from tasks.asr.evaluation.report import svg as report_svg

_MARKERS = {"typical": "o", "mild": "s", "moderate": "^", "severe": "D"}

_MAX_BARS = 40

# A reduction below this is drawn at it, as an arrow: a speaker with one base
# error would otherwise flatten all the others.
_LOWEST_REDUCTION = -1.0


def before_after(rows, target_word_error_rate):
    """Base and Submodel of each speaker: bars, or dots where they are many.

    Args:
        rows: list of dict, as `groups.speaker` gives them; not empty.
        target_word_error_rate: float, a fraction.

    Returns:
        str, an SVG element.
    """
    with matplotlib.rc_context(report_svg.STYLE):
        if len(rows) <= _MAX_BARS:
            figure = _bars(rows, target_word_error_rate)
        else:
            figure = _ranks(rows, target_word_error_rate)
        alt = f"Base and Submodel word error rates of {len(rows)} speakers"
        return report_svg.element(figure, "before-after", alt)


def _bars(rows, target):
    rows = sorted(
        rows,
        key=lambda row: (
            groups.severity_order(row["severity"]),
            row["base_word_error_rate"],
        ),
    )
    figure, axes = report_svg.axes(0.9 + 0.32 * len(rows))
    places = np.arange(len(rows))
    for name, offset in (("base", -0.19), ("submodel", 0.19)):
        key = f"{name}_word_error_rate"
        rates = 100 * np.array([row[key] for row in rows])
        axes.barh(
            places + offset,
            rates,
            height=0.36,
            color=report_svg.COLORS[name],
            label="Base" if name == "base" else "Submodel",
        )
        for place, row in zip(places, rows, strict=True):
            if row["intervals"][key]:
                low, high = row["intervals"][key]
                axes.plot(
                    [100 * low, 100 * high],
                    [place + offset] * 2,
                    color=report_svg.COLORS["ink"],
                    linewidth=0.8,
                )
    axes.set_yticks(places, [report_svg.name(row["speaker"]) for row in rows])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("Word error rate (%)")
    axes.axvline(
        100 * target, **report_svg.rule(), label=f"Target {100 * target:g} %"
    )
    severities = [row["severity"] for row in rows]
    for severity in dict.fromkeys(severities):
        first = severities.index(severity)
        last = first + severities.count(severity) - 1
        axes.text(
            1.01,
            (first + last) / 2,
            report_svg.name(severity),
            transform=axes.get_yaxis_transform(),
            va="center",
            parse_math=False,
        )
        if first:
            axes.axhline(
                first - 0.5, color=report_svg.COLORS["muted"], linewidth=0.6
            )
    report_svg.legend(axes)
    return figure


def _ranks(rows, target):
    rows = sorted(rows, key=lambda row: row["base_word_error_rate"])
    figure, axes = report_svg.axes(4.2)
    ranks = np.arange(1, len(rows) + 1)
    for name, label in (("base", "Base"), ("submodel", "Submodel")):
        rates = [100 * row[f"{name}_word_error_rate"] for row in rows]
        if name == "base":
            axes.plot(
                ranks, rates, color=report_svg.COLORS[name], label=label, lw=2
            )
        else:
            axes.scatter(
                ranks,
                rates,
                s=min(24, 6000 / len(rows)),
                color=report_svg.COLORS[name],
                alpha=0.7,
                linewidths=0,
                label=label,
            )
    axes.axhline(
        100 * target, **report_svg.rule(), label=f"Target {100 * target:g} %"
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(rows) + 1)
    axes.set_xlabel("Speakers, by the base's word error rate")
    axes.set_ylabel("Word error rate (%)")
    report_svg.legend(axes)
    return figure


def gain_by_severity(rows):
    """Relative reduction against the base's error rate; an SVG element."""
    with matplotlib.rc_context(report_svg.STYLE):
        figure, axes = report_svg.axes(3.8)
        _gains(axes, rows, lambda row: 100 * row["base_word_error_rate"])
        axes.set_xlim(left=0)
        axes.set_xlabel("Word error rate of the base (%)")
        for bound in groups.MEASURED_UPPER_BOUNDS.values():
            axes.axvline(100 * bound, **report_svg.rule())
        report_svg.legend(axes)
        return report_svg.element(
            figure,
            "gain-severity",
            "Relative reduction of each speaker against the base's word error "
            "rate",
        )


def gain_by_minutes(rows):
    """Relative reduction against training speech; an SVG element.

    Speakers whose `train_minutes` are None are left out.
    """
    rows = [row for row in rows if row["train_minutes"] is not None]
    with matplotlib.rc_context(report_svg.STYLE):
        figure, axes = report_svg.axes(3.8)
        _gains(axes, rows, lambda row: row["train_minutes"])
        minutes = [row["train_minutes"] for row in rows]
        if min(minutes) > 0 and max(minutes) > 10 * min(minutes):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel("Minutes of training speech")
        report_svg.legend(axes)
        return report_svg.element(
            figure,
            "gain-minutes",
            "Relative reduction of each speaker against minutes of training "
            "speech",
        )


def _gains(axes, rows, position):
    rows = [row for row in rows if row["relative_reduction"] is not None]
    severities = sorted(
        {row["severity"] for row in rows}, key=groups.severity_order
    )
    area = float(np.clip(6000 / max(len(rows), 1), 12, 36))
    for severity in severities:
        chosen = [row for row in rows if row["severity"] == severity]
        for low in (False, True):
            points = [
                (
                    position(row),
                    100 * max(row["relative_reduction"], _LOWEST_REDUCTION),
                )
                for row in chosen
                if (row["relative_reduction"] < _LOWEST_REDUCTION) == low
            ]
            axes.scatter(
                *np.array(points).reshape(-1, 2).T,
                s=70 if low else area,
                marker="$\u2193$" if low else _MARKERS.get(severity, "v"),
                color=report_svg.color(severity),
                alpha=0.85,
                linewidths=0,
                clip_on=False,
            )
        axes.plot(
            [],
            [],
            linestyle="",
            color=report_svg.color(severity),
            marker=_MARKERS.get(severity, "v"),
            label=report_svg.name(severity),
        )
    axes.axhline(0, color=report_svg.COLORS["muted"], linewidth=1)
    axes.set_ylim(top=105)
    axes.set_ylabel("Relative reduction (%)")
