"""The report of an evaluation: one HTML file that needs nothing else.

No script, no network, no other file: it can be mailed, archived and printed.
Whatever came from speech or from a manifest is escaped.
"""

import json
import pathlib
from typing import Any

import jinja2
import markupsafe
import matplotlib

from lingvo_like import files
from lingvo_like.space import file as space_file
from tasks.asr.evaluation import table
from tasks.asr.evaluation.report import curves, plots, space_map, svg

_TEMPLATE = pathlib.Path(__file__).with_name("template.html")

_NOVELTY_NAMES = {
    "seen_phrase": "Phrases seen in training",
    "unseen_phrase": "Unseen phrases of seen words",
    "unseen_words": "Phrases with unseen words",
    "unseen": "All unseen phrases",
}


def write(
    path: str,
    summary: dict[str, Any],
    history: list[dict[str, Any]],
    details: dict[str, Any],
    space: space_file.Space | None = None,
) -> None:
    """Writes the report; it appears whole or not at all.

    Args:
        path: local path or `gs://`.
        history: dicts with `speaker`, `step` and `train_loss`, `dev_loss` or
            both; may be empty.
        details: what was evaluated; nested dicts are flattened.

    Raises:
        OSError: the file cannot be written; names the path.
    """
    page = render(summary, history, details, space)
    files.write_atomically(path, page.encode("utf-8", "replace"))


def render(
    summary: dict[str, Any],
    history: list[dict[str, Any]],
    details: dict[str, Any],
    space: space_file.Space | None = None,
) -> str:
    """The report as HTML. Arguments are those of `write`."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "points": lambda value: "–" if value is None else _signed(value, "+"),
        "minutes": lambda value: "–" if value is None else f"{value:.1f}",
        "count": lambda value: f"{value:,}",
        "percents": lambda interval: _span(interval, 100, ""),
        "point_span": lambda interval: _span(interval, 1, "+"),
    }
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    rows = summary["speakers"]
    return template.render(
        summary=summary,
        normalizers=table.normalizers(summary),
        details=_flat(details),
        novelty_names=_NOVELTY_NAMES,
        plots=_plots(summary, history, space),
        num_in_space=len(space.speakers) if space else 0,
        neighbours=space_map.neighbours(space, rows) if space else [],
        without_minutes=sum(row["train_minutes"] is None for row in rows),
    )


def _plots(summary, history, space):
    """SVG elements by name; None for a plot without data."""
    rows = summary["speakers"]
    severities = {row["speaker"]: row["severity"] for row in rows}
    gains = [row for row in rows if row["relative_reduction"] is not None]
    timed = [row for row in gains if row["train_minutes"] is not None]
    with matplotlib.rc_context(svg.STYLE):
        figures = {
            "before_after": rows
            and plots.before_after(rows, summary["target_word_error_rate"]),
            "gain_by_severity": gains and plots.gain_by_severity(gains),
            "gain_by_minutes": timed and plots.gain_by_minutes(timed),
            "learning_curves": curves.losses(history, severities),
            "space_map": space and space_map.speaker_map(space, rows),
            "space_elements": space and space_map.elements(space),
        }
    # Marked as safe: Matplotlib escapes the names that it draws.
    return {
        name: markupsafe.Markup(svg.element(figure, name)) if figure else None
        for name, figure in figures.items()
    }


def _percent(fraction):
    return "–" if fraction is None else _signed(100 * fraction, "") + " %"


def _span(interval, scale, sign):
    if interval is None:
        return ""
    low, high = (_signed(scale * value, sign) for value in interval)
    return f"{low} to {high}"


def _signed(value, sign):
    text = f"{value:{sign}.1f}"
    # A rounded zero has no direction.
    text = "0.0" if float(text) == 0 else text
    return text.replace("-", "\N{MINUS SIGN}")


def _flat(details, prefix=""):
    """Nested details as pairs of dotted key and text."""
    pairs = []
    for key, value in details.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            pairs += _flat(value, f"{name}.")
        elif isinstance(value, str):
            pairs.append((name, value))
        else:
            pairs.append((name, json.dumps(value, default=str)))
    return pairs
