"""The report's learning curves."""

import collections
from collections import abc
from typing import Any

import numpy as np
from matplotlib import figure as figure_lib

from tasks.asr.evaluation import severity as severity_lib
from tasks.asr.evaluation.report import svg

_MAX_LINES = 24
# Among more speakers, those with the highest loss are named.
_MAX_WORST = 4
_TITLES = {"train_loss": "Training loss", "dev_loss": "Dev loss"}
_PANEL_INCHES = 3.4
# Of steps, in the band of quartiles.
_BAND_BINS = 40
# Of one name beside another, as a fraction of a panel's height.
_NAME_HEIGHT = 0.042


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
            curves[kind] = {who: sorted(each) for who, each in points.items()}
    if not curves:
        return None
    figure = svg.figure(_PANEL_INCHES * len(curves))
    panels = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    for axes, (kind, speakers) in zip(panels, curves.items(), strict=True):
        if len(speakers) <= _MAX_LINES:
            _draw_lines(axes, speakers, severities)
        else:
            _draw_band(axes, speakers)
            worst = sorted(speakers, key=lambda who: -speakers[who][-1][1])
            worst = {who: speakers[who] for who in worst[:_MAX_WORST]}
            _draw_lines(axes, worst, severities)
        axes.set_ylabel(_TITLES[kind])
        axes.set_xlabel("Steps of the speaker")
        axes.locator_params("x", integer=True)
    svg.legend(figure, ncols=6, loc="outside upper left")
    return figure


def _draw_lines(axes, speakers, severities):
    """Draws a line for each speaker, and names it where it ends."""
    shown = set()
    for speaker, points in sorted(speakers.items()):
        severity = severities.get(speaker, severity_lib.UNKNOWN)
        shown.add(severity)
        steps, values = np.array(points).T
        marker = "o" if len(points) < 8 else None
        axes.plot(
            steps, values, color=svg.color(severity), lw=1, marker=marker, ms=3
        )
    for severity in sorted(shown, key=severity_lib.order):
        axes.plot([], [], color=svg.color(severity), label=svg.name(severity))
    _name_lines(axes, speakers, severities)


def _name_lines(axes, speakers, severities):
    """Writes the names at the right, apart, with a thin line to each end."""
    ends = {speaker: points[-1] for speaker, points in speakers.items()}
    # The limits are settled before anything is placed by them.
    axes.set_ylim(axes.get_ylim())
    axes.set_xlim(axes.get_xlim())
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = {who: to_axes.transform(end)[1] for who, end in ends.items()}
    order = sorted(wanted, key=lambda who: wanted[who])
    places = _apart([wanted[who] for who in order], _NAME_HEIGHT)
    for speaker, place in zip(order, places, strict=True):
        color = svg.color(severities.get(speaker, severity_lib.UNKNOWN))
        axes.annotate(
            svg.name(speaker),
            ends[speaker],
            (1.03, place),
            textcoords="axes fraction",
            color=color,
            fontsize="small",
            va="center",
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.4,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 1,
            },
        )


def _apart(wanted: list[float], gap: float) -> list[float]:
    """The places nearest to the wanted ones, ascending, that keep a gap.

    Those that are too near to each other move apart about their mean.
    """
    groups: list[list[float]] = []
    for place in wanted:
        groups.append([place])
        while len(groups) > 1 and _start(groups[-1], gap) < (
            _start(groups[-2], gap) + gap * len(groups[-2])
        ):
            last = groups.pop()
            groups[-1] += last
    return [
        _start(group, gap) + gap * index
        for group in groups
        for index in range(len(group))
    ]


def _start(group, gap):
    """The place of a group's first name."""
    return max(0.0, float(np.mean(group)) - gap * (len(group) - 1) / 2)


def _draw_band(axes, speakers):
    """Draws the median and quartiles of the speakers, in bins of steps."""
    steps = sorted({step for points in speakers.values() for step, _ in points})
    edges = np.unique(
        np.quantile(steps, np.linspace(0, 1, _BAND_BINS + 1), method="higher")
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
