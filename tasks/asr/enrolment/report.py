"""The texts of an enrolment: tables, refusals, and gains from another space."""

from collections import abc
from typing import Any

from tasks import tables
from tasks.asr.enrolment import results

_COLUMNS = (
    "speaker",
    "utterances",
    "kept",
    "WER",
    "base WER",
    "cohort WER",
    "over cohort",
    "judged on",
)


def table(enrolled: abc.Iterable[results.Enrolled]) -> str:
    """A table with a line for each speaker."""
    return tables.aligned(
        [_COLUMNS]
        + [
            (
                each.speaker,
                str(each.num_utterances),
                each.mode or "nothing",
                _percent(each.best.word_error_rate),
                _percent(each.base.word_error_rate),
                _cohort(each),
                "-" if added is None else f"{added:+.1f}",
                each.evidence,
            )
            for each in enrolled
            for added in [each.over_cohort]
        ]
    )


def _cohort(enrolled):
    """The error rate of the Submodel that is the same for everybody."""
    if not enrolled.cohort:
        return "-"
    rate = _percent(enrolled.judgements[results.COHORT].word_error_rate)
    return f"{rate} ({enrolled.cohort})"


def refusal(enrolled: results.Enrolled) -> str:
    """The reason why a speaker got no Submodel, in one line."""
    tried = ", ".join(
        f"{mode} {_percent(each.word_error_rate)}"
        for mode, each in enrolled.judgements.items()
        if mode != results.BASE
    )
    reasons = "".join(f"; {each}" for each in enrolled.warnings)
    return (
        f"{enrolled.speaker}: nothing is better than the base model "
        f"({_percent(enrolled.base.word_error_rate)} word error rate; "
        f"{tried}), so nothing was written{reasons}"
    )


def doubt(enrolled: results.Enrolled) -> str:
    """The reason not to keep a Submodel though it is better, in one line."""
    return (
        f"{enrolled.speaker}: {'; '.join(enrolled.warnings)}; nothing was "
        "written (--despite_warnings keeps it)"
    )


def comparison(
    before: abc.Sequence[results.Enrolled],
    after: abc.Sequence[results.Enrolled],
    trained: abc.Container[str],
) -> list[dict[str, Any]]:
    """Compares what speakers get from two spaces; the largest gain first.

    Args:
        before: results with the space in use.
        after: results with the other space, in the same order of speakers.
        trained: speakers whom the other space was trained on: it has learned
            from the utterances that they are judged by.
    """
    rows = []
    for old, new in zip(before, after, strict=True):
        if old.speaker != new.speaker:
            raise ValueError(
                f"results of different speakers: {old.speaker!r} and "
                f"{new.speaker!r}"
            )
        rows.append(
            {
                "speaker": old.speaker,
                "word_error_rate_before": old.best.word_error_rate,
                "word_error_rate_after": new.best.word_error_rate,
                "loss_before": old.best.loss,
                "loss_after": new.best.loss,
                "gains": new.best.improves(old.best) and not new.warnings,
                "trained_it": new.speaker in trained,
            }
        )
    return sorted(
        rows,
        key=lambda row: (
            row["word_error_rate_after"] - row["word_error_rate_before"],
            row["loss_after"] - row["loss_before"],
        ),
    )


def comparison_table(rows: abc.Iterable[dict[str, Any]]) -> str:
    """The rows of `comparison` as text."""
    return tables.aligned(
        [("speaker", "WER now", "WER then", "loss now", "then", "re-publish")]
        + [
            (
                row["speaker"],
                _percent(row["word_error_rate_before"]),
                _percent(row["word_error_rate_after"]),
                f"{row['loss_before']:.3f}",
                f"{row['loss_after']:.3f}",
                ("would gain" if row["gains"] else "leave")
                + (", but trained it" if row["trained_it"] else ""),
            )
            for row in rows
        ]
    )


def _percent(fraction):
    return f"{100 * fraction:.1f} %"
