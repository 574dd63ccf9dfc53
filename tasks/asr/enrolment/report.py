"""What an enrolment says: a table, refusals, and who gains by another space."""

from tasks import tables


def table(results):
    """A line for each speaker.

    Args:
        results: list of `Enrolled`.
    """
    rows = [
        ("speaker", "utterances", "kept", "WER", "base WER", "judged on")
    ] + [
        (
            each.speaker,
            str(each.num_utterances),
            each.mode or "nothing",
            _percent(each.best),
            _percent(each.judgements["base"]),
            each.evidence,
        )
        for each in results
    ]
    return tables.aligned(rows)


def refusal(enrolled):
    """Why a speaker got no Submodel, in one line."""
    tried = ", ".join(
        f"{mode} {_percent(each)}"
        for mode, each in enrolled.judgements.items()
        if mode != "base"
    )
    reasons = "".join(f"; {each}" for each in enrolled.warnings)
    return (
        f"{enrolled.speaker}: nothing is better than the base model "
        f"({_percent(enrolled.judgements['base'])} word error rate; {tried}), "
        f"so nothing was written{reasons}"
    )


def doubt(enrolled):
    """Why a speaker's Submodel is not kept, good as it is, in one line."""
    return (
        f"{enrolled.speaker}: {'; '.join(enrolled.warnings)}; nothing was "
        "written (--despite_warnings keeps it)"
    )


def comparison(before, after, trained):
    """Who would gain by a Submodel of another space.

    Args:
        before, after: lists of `Enrolled`, of the same speakers in the same
            order, under the space in use and under the other.
        trained: ids of those whom the other was trained on: it has learned
            from what they are judged by.

    Returns:
        list of JSON-able dicts, the largest gain first.
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
                "gains": (new.best.improves(old.best) and not new.warnings),
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


def comparison_table(rows):
    """The rows of `comparison` as text."""
    return tables.aligned(
        [("speaker", "WER now", "WER then", "loss now", "then", "re-publish")]
        + [
            (
                row["speaker"],
                f"{100 * row['word_error_rate_before']:.1f} %",
                f"{100 * row['word_error_rate_after']:.1f} %",
                f"{row['loss_before']:.3f}",
                f"{row['loss_after']:.3f}",
                ("would gain" if row["gains"] else "leave")
                + (", but trained it" if row["trained_it"] else ""),
            )
            for row in rows
        ]
    )


def _percent(judgement):
    return f"{100 * judgement.word_error_rate:.1f} %"
