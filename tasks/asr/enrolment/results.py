"""Results of an enrolment: how candidates did, and what each speaker got."""

import dataclasses
from collections import abc
from typing import Any

import numpy as np

BASE = "base"
COHORT = "cohort"

# A held-out loss above the base's by this much is harm, not chance.
_HARM_RATIO, _HARM_NATS = 1.1, 0.05
# A loss ratio below this shows that a speaker's other utterances helped.
_HELPED_RATIO = 0.97
# Above this error rate and loss ratio, next to nothing was understood.
_LOST_RATE, _LOST_RATIO = 0.8, 0.95


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One candidate's results on one speaker's held-out utterances.

    Attributes:
        losses: dict of utterance index to its loss.
        errors, words: word errors, and the words of the transcripts.
    """

    losses: dict[int, float]
    errors: int
    words: int

    @property
    def loss(self) -> float:
        """The mean loss."""
        return mean_loss(self.losses)

    @property
    def word_error_rate(self) -> float:
        """Word errors over words, a fraction."""
        return self.errors / max(1, self.words)

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key, best first: errors, and the loss between equal errors."""
        return self.errors, self.loss

    def improves(self, base: "Judgement") -> bool:
        """Whether it beats the base model, and is worse in nothing.

        A Submodel that falls silent makes fewer errors than a base model that
        repeats itself, but its loss is higher.
        """
        return (
            self.errors <= base.errors
            and self.loss <= base.loss
            and self.rank < base.rank
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One mode's offer to one speaker.

    Attributes:
        mode: one of `plan.MODES`, or "base" or "cohort".
        step: the mode's step with the lowest held-out loss.
        embedding: the final run's; empty for the base.
        tensors: the final run's, where its embedding does not determine them.
    """

    mode: str
    step: int
    judgement: Judgement
    embedding: tuple[float, ...] = ()
    tensors: dict[str, np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Enrolled:
    """One speaker's result.

    Attributes:
        mode: one of `plan.MODES`; "cohort" where nothing personal is better
            than that; "" where nothing improves on the base model
            (`Judgement.improves`), and there are no tensors.
        embedding: where the Submodel is in the space, or started from.
        evidence: one of `plan.EVIDENCE`.
        judgements: dict of mode, and "base" and "cohort", to the judgement.
            Who has no cohort to be judged beside has no judgement of it.
        cohort: which one it is, in words.
        started_from: as in the metadata of a Submodel.
        heard: `heard.keys` of the recordings that were learned from.
        language: that they enrolled in; "" where in several.
    """

    speaker: str
    mode: str
    tensors: dict[str, np.ndarray] | None
    embedding: tuple[float, ...]
    step: int
    evidence: str
    judgements: dict[str, Judgement]
    num_utterances: int
    seconds_of_speech: float
    warnings: tuple[str, ...]
    heard: frozenset[str] = frozenset()
    cohort: str = ""
    started_from: dict[str, str] = dataclasses.field(default_factory=dict)
    language: str = ""

    @property
    def base(self) -> Judgement:
        """The base model's judgement."""
        return self.judgements[BASE]

    @property
    def best(self) -> Judgement:
        """The judgement of what the speaker keeps; the base's if nothing."""
        return self.judgements[self.mode or BASE]

    @property
    def over_cohort(self) -> float | None:
        """The gain from being personal, in percentage points of word errors."""
        cohort = self.judgements.get(COHORT)
        if cohort is None:
            return None
        return 100 * (self.best.word_error_rate - cohort.word_error_rate)

    def summary(self) -> dict[str, Any]:
        """JSON-able dict without the tensors."""
        return {
            "speaker": self.speaker,
            "mode": self.mode,
            "evidence": self.evidence,
            "step": self.step,
            "num_utterances": self.num_utterances,
            "seconds_of_speech": round(self.seconds_of_speech, 3),
            "word_error_rate": {
                mode: each.word_error_rate
                for mode, each in self.judgements.items()
            },
            "loss": {mode: each.loss for mode, each in self.judgements.items()},
            "cohort": self.cohort,
            "change_over_cohort_points": self.over_cohort,
            "warnings": list(self.warnings),
        }


def mean_loss(losses: abc.Mapping[int, float]) -> float:
    """The mean of a dict of utterance index to loss."""
    return float(np.mean(list(losses.values())))


def warnings(
    base: Judgement, best: Judgement, utt_ids: abc.Mapping[int, str]
) -> tuple[str, ...]:
    """Doubts about the recordings that the held-out errors raise."""
    found = []
    ratios = {i: best.losses[i] / max(base.losses[i], 1e-6) for i in utt_ids}
    if (
        best.word_error_rate >= _LOST_RATE
        and np.median(list(ratios.values())) > _LOST_RATIO
    ):
        found.append(
            f"{100 * best.word_error_rate:.0f} % of the held-out words are "
            "wrong, and learning from the other utterances does not help: "
            "check that the transcripts belong to these recordings and are in "
            "the base model's language"
        )
    harmed = [
        utt_ids[i]
        for i, ratio in sorted(ratios.items())
        if ratio > _HARM_RATIO and best.losses[i] > base.losses[i] + _HARM_NATS
    ]
    helped = sum(ratio < _HELPED_RATIO for ratio in ratios.values())
    if harmed and helped >= len(harmed):
        found.append(
            f"unlike the speaker's other utterances: {', '.join(harmed[:5])}"
            f"{' ...' if harmed[5:] else ''}; check their voice, language and "
            "transcript"
        )
    return tuple(found)
