"""Matplotlib figures as SVG elements that stand in a page beside others.

The colours read well on white, on dark pages and on paper. Text stays text,
so it can be searched, read aloud and scaled; the page's style sheet gives it
the page's own font and colour.
"""

import io
import re
import warnings
from typing import Any

import matplotlib
from matplotlib import axes as axes_lib, figure as figure_lib

from tasks.asr.evaluation import severity as severity_lib

_WIDTH_INCHES = 8.0
_MAX_NAME_LENGTH = 20

COLORS = {
    "muted": "#7a828d",
    "base": "#98a2af",
    "cohort": "#9b72c9",
    "submodel": "#2f7fdc",
    "typical": "#1f9e77",
    "mild": "#3a94d4",
    "moderate": "#c78a14",
    "severe": "#e0621b",
    "other": "#808894",
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": COLORS["muted"],
    "axes.labelcolor": COLORS["muted"],
    "axes.edgecolor": COLORS["muted"],
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLORS["muted"],
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "legend.frameon": False,
}

# How a line that marks a value looks.
RULE: dict[str, Any] = {
    "color": COLORS["muted"],
    "linewidth": 1.2,
    "linestyle": ":",
}


def figure(height_inches: float) -> figure_lib.Figure:
    """An empty figure as wide as the page."""
    size = (_WIDTH_INCHES, height_inches)
    return figure_lib.Figure(size, layout="constrained")


def color(severity: str) -> str:
    """The colour of a given severity."""
    return COLORS[severity if severity in severity_lib.LABELS else "other"]


def name(text: str) -> str:
    """A short, printable name, never hidden: Matplotlib drops `_names`."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) > _MAX_NAME_LENGTH:
        text = text[: _MAX_NAME_LENGTH - 1] + "…"
    return text.lstrip("_") or "_"


def legend(
    axes: axes_lib.Axes | figure_lib.Figure, ncols: int = 6, **place: Any
) -> None:
    """Adds a row of names, above the axes if no other place is given."""
    if isinstance(axes, figure_lib.Figure):
        handles, labels = axes.axes[0].get_legend_handles_labels()
    else:
        handles, labels = axes.get_legend_handles_labels()
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    # Matplotlib lists bars after lines; the target belongs last.
    order = sorted(range(len(labels)), key=lambda i: "Target" in labels[i])
    made = axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        ncols=ncols,
        borderpad=0,
        borderaxespad=0.3,
        **place,
    )
    # A `$` in a name would start a formula.
    for text in made.get_texts():
        text.set_parse_math(False)


def element(figure: figure_lib.Figure, salt: str) -> str:
    """The figure as an SVG element that refers to nothing outside of it.

    Args:
        salt: name of the figure, unique in the page; the ids of clip paths
            and markers are made from it.
    """
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with (
        matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # Matplotlib's font lacks some glyphs; the browser has its own fonts.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=no_metadata
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Groups are numbered anew in each figure, and nothing refers to them.
    return re.sub(r'<g id="[^"]*"', "<g", svg)
