"""The figures of an evaluation as plain text."""

import collections
from typing import Any

from tasks import tables

# Rates of fewer words than this move a lot with each of them.
_FEW_WORDS = 50
_LEGEND = (
    "base: the base model without a Submodel. measured: severity by the "
    "base's error rate.",
    "points: change in percentage points, negative is better.",
    "train min: minutes of speech trained on.",
    "Error rates above 100 % come from words that were not said.",
)
_COHORT_LEGEND = (
    "cohort: one Submodel, trained on many speakers, the same for all of them."
)
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
    given = summary["by_severity"]["given"]
    for severity, total in given.items():
        lines += [_line(row["speaker"], row) for row in by_severity[severity]]
        if len(given) > 1:
            name = f"{severity}: median of {total['num_speakers']}"
            lines.append(_line(name, total, "median_"))
        lines.append("")
    overall = summary["overall"]
    name = f"all: median of {overall['num_speakers']}"
    lines.append(_line(name, overall, "median_"))
    by_language = summary["by_language"]
    if len(by_language) > 1:
        lines.append("")
        for language, total in by_language.items():
            name = f"in {language}: median of {total['num_speakers']}"
            lines.append(_line(name, total, "median_"))
    return "\n".join(lines + _over_cohort(summary) + _notes(summary))


def normalizers(summary: dict[str, Any]) -> str:
    """The normaliser; where it goes by the language, which is whose."""
    by_language = summary["normalizer_by_language"]
    if len(set(by_language.values())) == 1:
        return summary["normalizer"]
    each = ", ".join(f"{key} {value}" for key, value in by_language.items())
    return f"{summary['normalizer']} ({each})"


def _over_cohort(summary):
    """A table of what being personal adds; nothing without a cohort."""
    total = summary["with_cohort"]
    if not total["num_speakers"]:
        return []
    columns = (
        f"{'what being personal adds':<24} {'base %':>7} {'cohort %':>9} "
        f"{'Submodel %':>10} {'over the cohort, points':>32}"
    )
    lines = ["", columns, "-" * len(columns)]
    for row in summary["speakers"]:
        if row["cohort_word_error_rate"] is not None:
            change = _figure(row, "change_over_cohort_points", 1, "+", "")
            lines.append(_cohort_line(row["speaker"], row, "", change))
    name = f"all: median of {total['num_speakers']}"
    change = _figure(total, "mean_change_over_cohort_points", 1, "+", "mean")
    return [*lines, _cohort_line(name, total, "median_", change)]


def _cohort_line(name, row, prefix, change):
    base, cohort, submodel = (
        _shown(row[f"{prefix}{system}_word_error_rate"], 100)
        for system in ("base", "cohort", "submodel")
    )
    return (
        f"{_plain(name):<24} {base:>7} {cohort:>9} {submodel:>10} {change:>32}"
    )


def _line(name, row, prefix=""):
    """A line of the table.

    Args:
        row: of a speaker, or of a group.
        prefix: of the keys of a group's rates.
    """
    name = _plain(name)
    base, submodel, reduction = (
        _shown(row[f"{prefix}{key}"], 100)
        for key in (
            "base_word_error_rate",
            "submodel_word_error_rate",
            "relative_reduction",
        )
    )
    change = _shown(row.get("change_points"), 1, "+")
    minutes = _shown(row.get("train_minutes"), 1)
    return (
        f"{name:<24} {row.get('measured_severity', ''):<9} "
        f"{row['num_utterances']:>5} {row['num_words']:>6} {base:>7} "
        f"{submodel:>10} {reduction:>10} {change:>8} {minutes:>9}"
    )


def _plain(name):
    """A name of at most 24 characters that a terminal can print."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= 24 else name[:21] + "..."


def _shown(value, scale, sign=""):
    return "-" if value is None else f"{value * scale:{sign}.1f}"


def _median(total, key):
    return _figure(total, f"median_{key}", 100)


def _figure(total, key, scale, sign="", unit="%"):
    """A figure with its unit and interval."""
    text = f"{_shown(total[key], scale, sign)} {unit}"
    interval = total["intervals"][key]
    if total[key] is None or interval is None:
        return text
    low, high = (_shown(value, scale, sign) for value in interval)
    return f"{text} ({low} to {high})"


def _notes(summary):
    notes = ["", *_LEGEND]
    if _has_cohort(summary):
        notes.append(_COHORT_LEGEND)
    few = [
        _plain(row["speaker"])
        for row in summary["speakers"]
        if row["num_words"] < _FEW_WORDS
    ]
    if few:
        notes.append(
            f"Rates of fewer than {_FEW_WORDS} words, which say little:\n  "
            + tables.first_names(few)
        )
    return notes + _medians(summary) + _reservations(summary)


def _has_cohort(summary):
    return bool(summary["overall"]["num_speakers_with_cohort"])


def _medians(summary):
    """The figures of all speakers, and of the typical ones."""
    overall, typical = summary["overall"], summary["typical"]
    hard = summary["moderate_severe"]
    target = _shown(summary["target_word_error_rate"], 100)
    notes = [
        "",
        f"Word error rate, normalizer {normalizers(summary)}; "
        f"{100 * summary['confidence']:.0f} % intervals.",
        f"Median, base:         {_median(overall, 'base_word_error_rate')}",
        f"Median, Submodel:     {_median(overall, 'submodel_word_error_rate')}",
        f"Median reduction:     {_median(overall, 'relative_reduction')}",
        f"  moderate and severe as measured ({hard['num_speakers']}): "
        f"{_median(hard, 'relative_reduction')}",
        f"Speakers at {target} % or less: "
        f"{_shown(overall['success_before'], 100)} % with the base, "
        f"{_shown(overall['success_after'], 100)} % with their Submodels.",
    ]
    if _has_cohort(summary):
        added = _figure(
            summary["with_cohort"],
            "mean_change_over_cohort_points",
            1,
            "+",
            "points",
        )
        notes.append(f"Submodel over cohort, mean change: {added}.")
    if typical["num_speakers"]:
        notes.append(
            f"Typical speakers, mean change: "
            f"{_figure(typical, 'mean_change_points', 1, '+', 'points')}; "
            f"worst {typical['worst_speaker']} "
            f"{_shown(typical['worst_change_points'], 1, '+')}."
        )
    return notes


def _reservations(summary):
    """Notes on what the figures leave out."""
    notes = []
    if summary["num_empty_references"]:
        notes.append(
            f"{tables.counted(summary['num_empty_references'], 'utterance')} "
            "left out: no word is in the reference once normalised."
        )
    if summary["num_heard_left_out"]:
        notes.append(
            f"{tables.counted(summary['num_heard_left_out'], 'utterance')} "
            "left out: the speaker's Submodel had learned from the recording."
        )
    cut = [
        summary[f"num_cut_by_{each}"] for each in ("base", "submodel", "cohort")
    ]
    if any(cut):
        of_cohorts = f", {cut[2]} of cohorts" if _has_cohort(summary) else ""
        notes.append(
            f"Texts whose end is missing: {cut[0]} of the base, {cut[1]} of "
            f"Submodels{of_cohorts}. They "
            "are scored as they are; hypotheses.jsonl has the status of each."
        )
    if summary["num_simulated_utterances"]:
        notes.append("SIMULATED SPEECH: not clinical evidence.")
    return notes
