"""Word errors of every utterance, before anything is summed up."""

import collections
import dataclasses
import typing

import jiwer

from tasks.asr.data import text
from tasks.asr.evaluation import groups

NOVELTIES = ("seen_phrase", "unseen_phrase", "unseen_words")

_MAX_IMPROVEMENTS = 24
_MAX_IMPROVEMENTS_PER_SPEAKER = 2
_MAX_REGRESSIONS = 500


@dataclasses.dataclass(frozen=True)
class Scored:
    """An utterance's counts; `record` is a `metrics.Transcribed`."""

    record: typing.Any
    words: int
    base_errors: int
    submodel_errors: int


def check(records):
    """Refuses records that cannot be scored.

    Args:
        records: sequence of `metrics.Transcribed`.

    Raises:
        ValueError: no record, one given twice, a speaker of two severities, or
            an unknown novelty; names the speaker and the utterance.
    """
    if not records:
        raise ValueError("No utterance to score. Received: no records.")
    seen, severities = set(), {}
    for record in records:
        where = f"speaker {record.speaker!r}, utterance {record.utt_id!r}"
        if (record.speaker, record.utt_id) in seen:
            raise ValueError(f"Given twice: {where}. Make its utt_id unique.")
        seen.add((record.speaker, record.utt_id))
        if record.novelty not in NOVELTIES:
            raise ValueError(
                f"Unknown novelty of {where}. Received: {record.novelty!r}. "
                f"Choose one of {', '.join(NOVELTIES)}."
            )
        severity = groups.given_severity(record)
        first = severities.setdefault(record.speaker, severity)
        if first != severity:
            raise ValueError(
                f"Speaker {record.speaker!r} must have one severity. "
                f"Received: {first!r} and {severity!r}."
            )


def word_errors(references, hypotheses):
    """Substitutions, deletions and insertions of each pair of texts.

    Args:
        references: list of str, normalised, none empty.
        hypotheses: list of str, normalised.

    Returns:
        list of int.
    """
    if not references:
        return []
    aligned = jiwer.process_words(references, hypotheses)
    return [
        sum(
            max(
                chunk.ref_end_idx - chunk.ref_start_idx,
                chunk.hyp_end_idx - chunk.hyp_start_idx,
            )
            for chunk in chunks
            if chunk.type != "equal"
        )
        for chunks in aligned.alignments
    ]


def score(records, normalizer):
    """Counts the words and the errors of every utterance.

    Args:
        records: sequence of `metrics.Transcribed`.
        normalizer: one of `text.NORMALIZERS`.

    Returns:
        list of `Scored`, by speaker and utterance, whatever the order of the
        records; and the list of records whose reference is empty once
        normalised, so that no rate can be given.

    Raises:
        ValueError: `normalizer` is unknown.
    """
    normal = [text.normalize(r.reference, normalizer) for r in records]
    kept = [
        (record, reference)
        for record, reference in zip(records, normal, strict=True)
        if reference
    ]
    kept.sort(key=lambda pair: (pair[0].speaker, pair[0].utt_id))
    references = [reference for _, reference in kept]
    base_errors = word_errors(
        references,
        [text.normalize(r.base_hypothesis, normalizer) for r, _ in kept],
    )
    submodel_errors = word_errors(
        references,
        [text.normalize(r.submodel_hypothesis, normalizer) for r, _ in kept],
    )
    scored = [
        Scored(record, len(reference.split()), base, submodel)
        for (record, reference), base, submodel in zip(
            kept, base_errors, submodel_errors, strict=True
        )
    ]
    empty = [
        record
        for record, reference in zip(records, normal, strict=True)
        if not reference
    ]
    return scored, empty


def samples(scored):
    """Utterances worth reading: the largest improvements, all regressions.

    Args:
        scored: list of `Scored`.

    Returns:
        JSON-able dict with `improvements` (few of any one speaker, so that one
        voice does not fill the list), `regressions` (the worst first, up to a
        cap), `num_improved` and `num_regressed`.
    """
    improved = [s for s in scored if s.submodel_errors < s.base_errors]
    regressed = [s for s in scored if s.submodel_errors > s.base_errors]
    improved.sort(key=lambda s: s.submodel_errors - s.base_errors)
    regressed.sort(key=lambda s: s.base_errors - s.submodel_errors)
    shown, per_speaker = [], collections.Counter()
    for item in improved:
        if per_speaker[item.record.speaker] < _MAX_IMPROVEMENTS_PER_SPEAKER:
            per_speaker[item.record.speaker] += 1
            shown.append(item)
    return {
        "num_improved": len(improved),
        "num_regressed": len(regressed),
        "improvements": [_sample(s) for s in shown[:_MAX_IMPROVEMENTS]],
        "regressions": [_sample(s) for s in regressed[:_MAX_REGRESSIONS]],
    }


def _sample(item):
    return dataclasses.asdict(item.record) | {
        "num_words": item.words,
        "base_errors": item.base_errors,
        "submodel_errors": item.submodel_errors,
    }
