"""The report's learning curves."""

import collections
from collections import abc
from typing import Any

import numpy as np
from matplotlib import figure as figure_lib

from tasks.asr.evaluation import severity as severity_lib
from tasks.asr.evaluation.report import svg

_MAX_LINES = 24
_TITLES = {"train_loss": "Training loss", "dev_loss": "Dev loss"}


def losses(
    history: list[dict[str, Any]], severities: abc.Mapping[str, str]
) -> figure_lib.Figure | None:
    """Training and dev losses over each speaker's own steps.

    Args:
        history: dicts with `speaker`, `step` and maybe the losses.

    Returns:
        None where there is no finite loss.
    """
    curves = {}
    for kind in _TITLES:
        points = collections.defaultdict(list)
        for entry in history:
            loss = entry.get(kind)
            if loss is not None and np.isfinite(loss):
                points[entry["speaker"]].append((entry["step"], loss))
        if points:
            curves[kind] = points
    if not curves:
        return None
    figure = svg.figure(3.6)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (kind, speakers) in zip(panels, curves.items(), strict=True):
        if len(speakers) <= _MAX_LINES:
            _draw_lines(axes, speakers, severities)
        else:
            _draw_band(axes, speakers)
        axes.set_ylabel(_TITLES[kind])
        axes.set_xlabel("Steps of the speaker")
    svg.legend(figure, ncols=5, loc="outside upper left")
    return figure


def _draw_lines(axes, speakers, severities):
    shown = set()
    for speaker, points in sorted(speakers.items()):
        severity = severities.get(speaker, severity_lib.UNKNOWN)
        shown.add(severity)
        steps, values = np.array(sorted(points)).T
        marker = "o" if len(points) < 8 else None
        axes.plot(
            steps, values, color=svg.color(severity), lw=1, marker=marker, ms=3
        )
    for severity in sorted(shown, key=severity_lib.order):
        axes.plot([], [], color=svg.color(severity), label=svg.name(severity))


def _draw_band(axes, speakers, num_bins=40):
    """Draws the median and quartiles of the speakers, in bins of steps."""
    steps = sorted({step for points in speakers.values() for step, _ in points})
    edges = np.unique(
        np.quantile(steps, np.linspace(0, 1, num_bins + 1), method="higher")
    )
    table = np.full((len(speakers), len(edges)), np.nan)
    for row, points in enumerate(speakers.values()):
        at, values = np.array(points, float).T
        bins = np.searchsorted(edges, at)
        for each in np.unique(bins):
            table[row, each] = values[bins == each].mean()
    kept = ~np.isnan(table).all(axis=0)
    low, middle, high = np.nanpercentile(table[:, kept], [25, 50, 75], axis=0)
    edges, color = edges[kept], svg.COLORS["submodel"]
    axes.fill_between(
        edges,
        low,
        high,
        color=color,
        alpha=0.25,
        linewidth=0,
        label="Middle half of the speakers",
    )
    axes.plot(edges, middle, color=color, label="Median speaker")
