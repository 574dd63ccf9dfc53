"""The figures of an evaluation as plain text."""

import collections
from typing import Any

_COLUMNS = (
    f"{'speaker':<24} {'measured':<9} {'utts':>5} {'words':>6} {'base %':>7} "
    f"{'Submodel %':>10} {'reduced %':>10} {'points':>8} {'train min':>9}"
)


def text(summary: dict[str, Any]) -> str:
    """Lines of at most 96 columns: speakers by given severity, then medians."""
    by_severity = collections.defaultdict(list)
    for row in summary["speakers"]:
        by_severity[row["severity"]].append(row)
    lines = [_COLUMNS, "-" * len(_COLUMNS)]
    for severity, total in summary["by_severity"]["given"].items():
        lines += [_speaker_line(row) for row in by_severity[severity]]
        lines += [_group_line(f"{severity}: median", total), ""]
    lines.append(_group_line("all: median", summary["overall"]))
    return "\n".join(lines + _notes(summary))


def _line(name, measured, row, base, submodel, reduction, change, minutes):
    name = "".join(c if c.isprintable() else "?" for c in name)
    name = name if len(name) <= 24 else name[:21] + "..."
    return (
        f"{name:<24} {measured:<9} {row['num_utterances']:>5} "
        f"{row['num_words']:>6} {_shown(base, 100):>7} "
        f"{_shown(submodel, 100):>10} {_shown(reduction, 100):>10} "
        f"{_shown(change, 1, '+'):>8} {_shown(minutes, 1):>9}"
    )


def _speaker_line(row):
    return _line(
        row["speaker"],
        row["measured_severity"],
        row,
        row["base_word_error_rate"],
        row["submodel_word_error_rate"],
        row["relative_reduction"],
        row["change_points"],
        row["train_minutes"],
    )


def _group_line(name, total):
    return _line(
        f"{name} of {total['num_speakers']}",
        "",
        total,
        total["median_base_word_error_rate"],
        total["median_submodel_word_error_rate"],
        total["median_relative_reduction"],
        None,
        None,
    )


def _shown(value, scale, sign=""):
    return "-" if value is None else f"{value * scale:{sign}.1f}"


def _figure(total, key, scale, sign="", unit="%"):
    """A figure with its unit and interval."""
    text = f"{_shown(total[key], scale, sign)} {unit}"
    interval = total["intervals"][key]
    if total[key] is None or interval is None:
        return text
    low, high = (_shown(value, scale, sign) for value in interval)
    return f"{text} ({low} to {high})"


def _notes(summary):
    overall, typical = summary["overall"], summary["typical"]
    hard = summary["moderate_severe"]
    target = _shown(summary["target_word_error_rate"], 100)
    notes = [
        "",
        f"Word error rate, normalizer {summary['normalizer']}; "
        f"{100 * summary['confidence']:.0f} % intervals.",
        "Median, base:         "
        + _figure(overall, "median_base_word_error_rate", 100),
        "Median, Submodel:     "
        + _figure(overall, "median_submodel_word_error_rate", 100),
        "Median reduction:     "
        + _figure(overall, "median_relative_reduction", 100),
        f"  moderate and severe as measured ({hard['num_speakers']}): "
        + _figure(hard, "median_relative_reduction", 100),
        f"At most {target} %: {_shown(overall['success_before'], 100)} % of "
        f"speakers before, {_shown(overall['success_after'], 100)} % after.",
    ]
    if typical["num_speakers"]:
        notes.append(
            f"Typical speakers, mean change: "
            f"{_figure(typical, 'mean_change_points', 1, '+', 'points')}; "
            f"worst {typical['worst_speaker']} "
            f"{_shown(typical['worst_change_points'], 1, '+')}."
        )
    if summary["num_empty_references"]:
        notes.append(
            f"{summary['num_empty_references']} utterances left out: their "
            "references have no word once normalised."
        )
    if summary["num_simulated_utterances"]:
        notes.append("SIMULATED SPEECH: not clinical evidence.")
    return notes
