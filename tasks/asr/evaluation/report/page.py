"""The report of an evaluation: one HTML file that needs nothing else.

No script, no network, no other file: it can be mailed, archived and printed.
Whatever came from speech or from a manifest is escaped.
"""

import json
import pathlib

import jinja2
import markupsafe

from lingvo_like import files
from tasks.asr.evaluation.report import curves as report_curves
from tasks.asr.evaluation.report import plots as report_plots
from tasks.asr.evaluation.report import space_map as report_space

_TEMPLATE = pathlib.Path(__file__).with_name("template.html")

_NOVELTY_NAMES = {
    "seen_phrase": "Phrases seen in training",
    "unseen_phrase": "Unseen phrases of seen words",
    "unseen_words": "Phrases with unseen words",
    "unseen": "All unseen phrases",
}


def write(path, summary, history, title, details, space=None):
    """Writes the report; it appears whole or not at all.

    Args:
        path: str, where; local or in a bucket.
        summary: dict, as `metrics.summarize` gives it.
        history: list of dict with `speaker`, `step` and `train_loss`,
            `dev_loss` or both; may be empty.
        title: str.
        details: dict of what was evaluated (experiment, base model and its
            fingerprint, manifests); nested dicts are flattened.
        space: `space.Space` that the Submodels come from, or None.

    Raises:
        OSError: the file cannot be written; names the path.
    """
    page = render(summary, history, title, details, space)
    files.write_atomically(path, page.encode("utf-8", "replace"))


def render(summary, history, title, details, space=None):
    """The report as a str of HTML. Arguments are those of `write`."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "minutes": lambda value: "–" if value is None else f"{value:.1f}",
        "count": lambda value: f"{value:,}",
        "percents": lambda interval: _span(interval, 100, ""),
        "point_span": lambda interval: _span(interval, 1, "+"),
    }
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    return template.render(
        title=title,
        summary=summary,
        details=_flat(details),
        novelty_names=_NOVELTY_NAMES,
        plots=_plots(summary, history, space),
        neighbours=report_space.neighbours(space, summary["speakers"])
        if space
        else [],
        without_minutes=sum(
            row["train_minutes"] is None for row in summary["speakers"]
        ),
    )


def _plots(summary, history, space):
    rows = summary["speakers"]
    severities = {row["speaker"]: row["severity"] for row in rows}
    plots = {
        "before_after": None,
        "gain_by_severity": None,
        "gain_by_minutes": None,
        "learning_curves": report_curves.losses(history, severities),
        "space_map": space and report_space.speaker_map(space, rows),
        "space_elements": space and report_space.elements(space),
    }
    if rows:
        plots["before_after"] = report_plots.before_after(
            rows, summary["target_word_error_rate"]
        )
    defined = [row for row in rows if row["relative_reduction"] is not None]
    if defined:
        plots["gain_by_severity"] = report_plots.gain_by_severity(defined)
    if any(row["train_minutes"] is not None for row in defined):
        plots["gain_by_minutes"] = report_plots.gain_by_minutes(defined)
    # Safe: Matplotlib escapes the names that it draws.
    return {name: svg and markupsafe.Markup(svg) for name, svg in plots.items()}


def _percent(fraction):
    return "–" if fraction is None else _signed(100 * fraction, "") + " %"


def _points(value):
    return "–" if value is None else _signed(value, "+")


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
    """Nested details as pairs of a dotted key and a str."""
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
