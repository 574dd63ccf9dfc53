"""The report's plots: what each speaker gained, and how it was learned."""

import matplotlib
import numpy as np
from matplotlib import figure as figure_lib
from matplotlib import lines as lines_lib

from tasks.asr import groups, report_svg

_MARKERS = {"typical": "o", "mild": "s", "moderate": "^", "severe": "D"}

_WIDTH_INCHES = 8.0
_MAX_BARS = 40
_MAX_LINES = 24
_MAX_NAME = 20

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
    figure, axes = _axes(0.9 + 0.32 * len(rows))
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
    axes.set_yticks(places, [_name(row["speaker"]) for row in rows])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("Word error rate (%)")
    axes.axvline(100 * target, **_rule(), label=f"Target {100 * target:g} %")
    severities = [row["severity"] for row in rows]
    for severity in dict.fromkeys(severities):
        first = severities.index(severity)
        last = first + severities.count(severity) - 1
        axes.text(
            1.01,
            (first + last) / 2,
            _name(severity),
            transform=axes.get_yaxis_transform(),
            va="center",
            parse_math=False,
        )
        if first:
            axes.axhline(
                first - 0.5, color=report_svg.COLORS["muted"], linewidth=0.6
            )
    _legend(axes)
    return figure


def _ranks(rows, target):
    rows = sorted(rows, key=lambda row: row["base_word_error_rate"])
    figure, axes = _axes(4.2)
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
    axes.axhline(100 * target, **_rule(), label=f"Target {100 * target:g} %")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(rows) + 1)
    axes.set_xlabel("Speakers, by the base's word error rate")
    axes.set_ylabel("Word error rate (%)")
    _legend(axes)
    return figure


def gain_by_severity(rows):
    """Relative reduction against the base's error rate; an SVG element."""
    with matplotlib.rc_context(report_svg.STYLE):
        figure, axes = _axes(3.8)
        _gains(axes, rows, lambda row: 100 * row["base_word_error_rate"])
        axes.set_xlim(left=0)
        axes.set_xlabel("Word error rate of the base (%)")
        for bound in groups.MEASURED_UPPER_BOUNDS.values():
            axes.axvline(100 * bound, **_rule())
        _legend(axes)
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
        figure, axes = _axes(3.8)
        _gains(axes, rows, lambda row: row["train_minutes"])
        minutes = [row["train_minutes"] for row in rows]
        if min(minutes) > 0 and max(minutes) > 10 * min(minutes):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel("Minutes of training speech")
        _legend(axes)
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
                s=area,
                marker="$\u2193$" if low else _MARKERS.get(severity, "v"),
                color=_color(severity),
                alpha=0.85,
                linewidths=0,
                clip_on=False,
            )
        axes.plot(
            [],
            [],
            linestyle="",
            color=_color(severity),
            marker=_MARKERS.get(severity, "v"),
            label=_name(severity),
        )
    axes.axhline(0, color=report_svg.COLORS["muted"], linewidth=1)
    axes.set_ylim(top=105)
    axes.set_ylabel("Relative reduction (%)")


def learning_curves(history, severities):
    """Training and dev loss over a speaker's own steps.

    Args:
        history: list of dict with `speaker`, `step` and `train_loss` or
            `dev_loss` or both; others are passed over.
        severities: dict of speaker to given severity.

    Returns:
        str, an SVG element; or None where there is no finite loss.
    """
    curves = {"train_loss": {}, "dev_loss": {}}
    for entry in history:
        for kind, speakers in curves.items():
            loss = entry.get(kind)
            if loss is not None and np.isfinite(loss):
                points = speakers.setdefault(entry["speaker"], [])
                points.append((entry["step"], loss))
    curves = {kind: speakers for kind, speakers in curves.items() if speakers}
    if not curves:
        return None
    with matplotlib.rc_context(report_svg.STYLE):
        figure = figure_lib.Figure((_WIDTH_INCHES, 3.6), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        titles = {"train_loss": "Training loss", "dev_loss": "Dev loss"}
        for axes, (kind, speakers) in zip(panels, curves.items(), strict=True):
            if len(speakers) <= _MAX_LINES:
                _lines(axes, speakers, severities)
            else:
                _band(axes, speakers)
            axes.set_ylabel(titles[kind])
            axes.set_xlabel("Steps of the speaker")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=5, borderpad=0
        )
        return report_svg.element(
            figure, "curves", "Loss of the speakers over their steps"
        )


def _lines(axes, speakers, severities):
    for speaker, points in sorted(speakers.items()):
        color = _color(severities.get(speaker, groups.UNKNOWN_SEVERITY))
        steps, losses = np.array(sorted(points)).T
        marker = "o" if len(points) < 8 else None
        axes.plot(steps, losses, color=color, lw=1, marker=marker, ms=3)
    shown = {severities.get(s, groups.UNKNOWN_SEVERITY) for s in speakers}
    for severity in sorted(shown, key=groups.severity_order):
        axes.add_line(
            lines_lib.Line2D(
                [], [], color=_color(severity), label=_name(severity)
            )
        )


def _band(axes, speakers, num_bins=40):
    """Median and quartiles over speakers, in bins of steps."""
    steps = sorted({step for points in speakers.values() for step, _ in points})
    edges = np.unique(
        np.quantile(steps, np.linspace(0, 1, num_bins + 1), method="higher")
    )
    table = np.full((len(speakers), len(edges)), np.nan)
    for row, points in enumerate(speakers.values()):
        at, losses = np.array(points, float).T
        places = np.searchsorted(edges, at)
        for place in np.unique(places):
            table[row, place] = losses[places == place].mean()
    kept = ~np.isnan(table).all(axis=0)
    low, middle, high = np.nanpercentile(table[:, kept], [25, 50, 75], axis=0)
    axes.fill_between(
        edges[kept],
        low,
        high,
        color=report_svg.COLORS["submodel"],
        alpha=0.25,
        linewidth=0,
        label="Middle half of the speakers",
    )
    axes.plot(
        edges[kept],
        middle,
        color=report_svg.COLORS["submodel"],
        label="Median speaker",
    )


def _axes(height_inches):
    figure = figure_lib.Figure(
        (_WIDTH_INCHES, height_inches), layout="constrained"
    )
    return figure, figure.subplots()


def _rule():
    return {
        "color": report_svg.COLORS["muted"],
        "linewidth": 1,
        "linestyle": ":",
    }


def _color(severity):
    return report_svg.COLORS[
        severity if severity in groups.SEVERITIES else "other"
    ]


def _name(text):
    """Short, printable, and no mathematics: `$` would start a formula."""
    text = "".join(c if c.isprintable() else "?" for c in str(text))
    text = text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"
    return text.lstrip("_") or "_"


def _legend(axes):
    handles, labels = axes.get_legend_handles_labels()
    # Bars come after lines in Matplotlib's order; the target belongs last.
    order = sorted(range(len(labels)), key=lambda i: "Target" in labels[i])
    legend = axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=6,
        borderpad=0,
        borderaxespad=0.3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
