"""The report's learning curves."""

import matplotlib
import numpy as np
from matplotlib import lines as lines_lib

from tasks.asr.evaluation import groups
from tasks.asr.evaluation.report import svg as report_svg

_MAX_LINES = 24


def losses(history, severities):
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
        figure = report_svg.figure(3.6)
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
        legend = figure.legend(
            handles, labels, loc="outside upper left", ncols=5, borderpad=0
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        return report_svg.element(
            figure, "curves", "Loss of the speakers over their steps"
        )


def _lines(axes, speakers, severities):
    for speaker, points in sorted(speakers.items()):
        color = report_svg.color(
            severities.get(speaker, groups.UNKNOWN_SEVERITY)
        )
        steps, losses = np.array(sorted(points)).T
        marker = "o" if len(points) < 8 else None
        axes.plot(steps, losses, color=color, lw=1, marker=marker, ms=3)
    shown = {severities.get(s, groups.UNKNOWN_SEVERITY) for s in speakers}
    for severity in sorted(shown, key=groups.severity_order):
        axes.add_line(
            lines_lib.Line2D(
                [],
                [],
                color=report_svg.color(severity),
                label=report_svg.name(severity),
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
