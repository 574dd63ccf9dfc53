"""Matplotlib figures as SVG elements that follow the colours of their page.

Text stays text, so it can be searched, read aloud and scaled; colours are
CSS variables, so that one picture serves light, dark and paper.
"""

import io
import re
import warnings

import matplotlib
from matplotlib import figure as figure_lib

from tasks.asr.evaluation import groups

_WIDTH_INCHES = 8.0
_MAX_NAME = 20

# Matplotlib wants colours and CSS wants variables: these stand in for them.
COLORS = {
    "ink": "#010101",
    "muted": "#010102",
    "grid": "#010103",
    "base": "#010104",
    "submodel": "#010105",
    "typical": "#010106",
    "mild": "#010107",
    "moderate": "#010108",
    "severe": "#010109",
    "other": "#01010a",
}

STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["ink"],
    "axes.edgecolor": COLORS["muted"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLORS["grid"],
    "grid.linewidth": 0.6,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
    "legend.frameon": False,
}


def figure(height_inches):
    """An empty figure as wide as the page."""
    return figure_lib.Figure(
        (_WIDTH_INCHES, height_inches), layout="constrained"
    )


def axes(height_inches):
    """A figure as wide as the page, and its only axes."""
    made = figure(height_inches)
    return made, made.subplots()


def rule():
    """How a line that marks a value looks."""
    return {
        "color": COLORS["muted"],
        "linewidth": 1,
        "linestyle": ":",
    }


def color(severity):
    """The colour of a given severity."""
    return COLORS[severity if severity in groups.SEVERITIES else "other"]


def name(text):
    """Short, printable, and no mathematics: `$` would start a formula."""
    text = "".join(c if c.isprintable() else "?" for c in str(text))
    text = text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"
    return text.lstrip("_") or "_"


def legend(axes):
    """A row of names above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    # Bars come after lines in Matplotlib's order; the target belongs last.
    order = sorted(range(len(labels)), key=lambda i: "Target" in labels[i])
    made = axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=6,
        borderpad=0,
        borderaxespad=0.3,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def element(figure, name, alt):
    """The figure as an element that can stand in a page beside others.

    Args:
        figure: a Matplotlib figure, drawn under `STYLE`.
        name: str, unique in the page; letters and hyphens.
        alt: str, what the picture shows; plain text.

    Returns:
        str, an SVG element without addresses of any kind.
    """
    buffer = io.StringIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        # Glyphs that Matplotlib's font lacks: the browser has its own.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None}
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    root, rest = svg.split(">", 1)
    root = re.sub(r' (xmlns(:\w+)?|version|width|height)="[^"]*"', "", root)
    svg = f"{root}>{rest}"
    svg = svg.replace("xlink:href", "href")
    # Matplotlib numbers its ids anew in each figure; a page needs them unique.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for color, value in COLORS.items():
        svg = svg.replace(value, f"var(--{color})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
