"""Word errors of every utterance, before anything is summed up."""

import collections
import dataclasses
from collections import abc
from typing import Any

import jiwer

from tasks.asr.data import text
from tasks.asr.evaluation import severity as severity_lib
from tasks.asr.recognition import statuses

NOVELTIES = ("seen_phrase", "unseen_phrase", "unseen_words")

_MAX_IMPROVEMENTS = 24
_MAX_IMPROVEMENTS_PER_SPEAKER = 2
_MAX_REGRESSIONS = 500


@dataclasses.dataclass(frozen=True)
class Transcribed:
    """One utterance as said, as the base heard it and as the Submodel did.

    Attributes:
        utt_id: unique within the speaker.
        severity: label that the corpus or the user gives, or None. `typical`
            marks a control.
        novelty: one of `NOVELTIES`, against what the speaker's Submodel was
            trained on.
        duration: seconds.
        language: code of what is spoken; "" where unknown.
        cohort_hypothesis: as the Submodel of the speaker's cohort heard it;
            None where there is none.
        base_status, submodel_status, cohort_status: "OK", or that the end of
            the text is missing; it is scored as it is.
    """

    speaker: str
    utt_id: str
    severity: str | None
    novelty: str
    reference: str
    base_hypothesis: str
    submodel_hypothesis: str
    duration: float
    simulated: bool
    language: str = ""
    base_status: str = statuses.OK
    submodel_status: str = statuses.OK
    cohort_hypothesis: str | None = None
    cohort_status: str = statuses.OK

    def __post_init__(self) -> None:
        if self.novelty not in NOVELTIES:
            raise ValueError(
                f"`novelty` of {self.name} must be one of "
                f"{', '.join(NOVELTIES)}. Received: {self.novelty!r}."
            )
        if not self.duration >= 0:
            raise ValueError(
                f"`duration` of {self.name} must not be negative. "
                f"Received: {self.duration}."
            )

    @property
    def name(self) -> str:
        """The utterance as messages name it."""
        return f"speaker {self.speaker!r}, utterance {self.utt_id!r}"

    @property
    def given_severity(self) -> str:
        """The label of the severity in lower case."""
        return severity_lib.name(self.severity)


@dataclasses.dataclass(frozen=True)
class Scored:
    """An utterance with its counts of words and word errors."""

    record: Transcribed
    words: int
    base_errors: int
    submodel_errors: int
    cohort_errors: int | None = None


def check(records: abc.Sequence[Transcribed]) -> None:
    """Refuses records that cannot be scored together.

    Raises:
        ValueError: no record, one given twice, or a speaker of two
            severities.
    """
    if not records:
        raise ValueError("No utterance to score. Received: no records.")
    seen, severities = set(), {}
    for record in records:
        if record.name in seen:
            raise ValueError(
                f"Given twice: {record.name}. Make its utt_id unique."
            )
        seen.add(record.name)
        severity = record.given_severity
        first = severities.setdefault(record.speaker, severity)
        if first != severity:
            raise ValueError(
                f"Speaker {record.speaker!r} must have one severity. "
                f"Received: {first!r} and {severity!r}."
            )


def word_errors(
    references: abc.Sequence[str], hypotheses: abc.Sequence[str]
) -> list[int]:
    """Substitutions, deletions and insertions of each pair of texts.

    Args:
        references: normalised texts, none empty.
    """
    if not references:
        return []
    aligned = jiwer.process_words(list(references), list(hypotheses))
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


def score(
    records: abc.Sequence[Transcribed], normalizer: str
) -> tuple[list[Scored], list[Transcribed]]:
    """Counts the words and the errors of every utterance.

    Args:
        normalizer: `text.AUTO`, which goes by each utterance's language, or
            one of `text.NORMALIZERS`.

    Returns:
        the scored utterances by speaker and utterance, whatever the order of
        the records; and the records whose reference is empty once normalised,
        which have no error rate.

    Raises:
        ValueError: `normalizer` is unknown, or not for a language that is
            spoken.
    """
    empty, kept, references = [], [], []
    for record in sorted(records, key=lambda each: (each.speaker, each.utt_id)):
        reference = _normalized(record, record.reference, normalizer)
        if reference:
            kept.append(record)
            references.append(reference)
        else:
            empty.append(record)
    errors = [
        _errors(kept, references, system, normalizer)
        for system in ("base", "submodel", "cohort")
    ]
    scored = [
        Scored(record, len(reference.split()), base, submodel, cohort)
        for record, reference, base, submodel, cohort in zip(
            kept, references, *errors, strict=True
        )
    ]
    return scored, empty


def _errors(records, references, system, normalizer):
    """The errors of each record; None where the system did not hear it."""
    heard = {
        place: _normalized(records[place], hypothesis, normalizer)
        for place, record in enumerate(records)
        if (hypothesis := getattr(record, f"{system}_hypothesis")) is not None
    }
    found = word_errors([references[p] for p in heard], list(heard.values()))
    by_place = dict(zip(heard, found, strict=True))
    return [by_place.get(place) for place in range(len(records))]


def _normalized(record, words, normalizer):
    return text.normalize(words, text.choose(normalizer, record.language))


def samples(scored: abc.Sequence[Scored]) -> dict[str, Any]:
    """Utterances worth reading: the largest improvements, all regressions.

    Returns:
        JSON-able dict with `improvements` (at most two of a speaker, so that
        one voice does not fill the list), `regressions` (the worst first, up
        to a cap), `num_improved` and `num_regressed`.
    """
    improved = [s for s in scored if s.submodel_errors < s.base_errors]
    regressed = [s for s in scored if s.submodel_errors > s.base_errors]
    improved.sort(key=lambda s: s.submodel_errors - s.base_errors)
    regressed.sort(key=lambda s: s.base_errors - s.submodel_errors)
    shown, per_speaker = [], collections.Counter()
    for item in improved:
        per_speaker[item.record.speaker] += 1
        if per_speaker[item.record.speaker] <= _MAX_IMPROVEMENTS_PER_SPEAKER:
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
        "cohort_errors": item.cohort_errors,
    }
