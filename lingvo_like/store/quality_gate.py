"""The quality gate: a Submodel has to be better than its base."""

import dataclasses

from lingvo_like.submodel import metadata as submodel_metadata

# With n utterances of a Submodel that is no better than its base, chance makes
# all n better once in 2^n. From 6 on that is rarer than once in 40, the half
# of what a 95 % interval leaves out.
MIN_UTTERANCES = 6


class GateError(ValueError):
    """The quality gate rejects a Submodel; the message has the figures."""


@dataclasses.dataclass(frozen=True)
class Gate:
    """Evidence on one Submodel: its errors beside the base's on dev speech.

    Attributes:
        source: where the figures come from.
        speaker, base_fingerprint, sha256: as in the Submodel's metadata.
        base_word_error_rate, submodel_word_error_rate: fractions.
        change_points: Submodel minus base, in percentage points.
        low, high: the paired interval of `change_points`.
        confidence: of the interval, such as 0.95.
        cohort_word_error_rate: of the Submodel of the speaker's cohort; None
            where nobody measured one.
        change_over_cohort_points, cohort_low, cohort_high: Submodel minus
            cohort, with its paired interval.
    """

    source: str
    speaker: str
    base_fingerprint: str
    sha256: str
    num_utterances: int
    num_words: int
    base_word_error_rate: float
    submodel_word_error_rate: float
    change_points: float
    low: float
    high: float
    confidence: float
    cohort_word_error_rate: float | None = None
    change_over_cohort_points: float | None = None
    cohort_low: float | None = None
    cohort_high: float | None = None

    def check(self, metadata: submodel_metadata.Metadata) -> None:
        """Raises a GateError unless this Submodel may be published."""
        for name in ("speaker", "base_fingerprint", "sha256"):
            measured, published = getattr(self, name), getattr(metadata, name)
            if measured != published:
                raise GateError(
                    f"{self.source} measured another Submodel: its {name} is "
                    f"{measured!r}, not {published!r}"
                )
        if self.num_utterances < MIN_UTTERANCES:
            raise GateError(
                f"the quality gate needs at least {MIN_UTTERANCES} "
                f"utterances of a speaker; {self.source} has "
                f"{self.num_utterances} of {self.speaker!r}"
            )
        # Written so that a figure that is not a number never passes.
        if not (self.low <= self.high < 0.0 and self.change_points < 0.0):
            raise GateError(f"the quality gate rejects it: {self.describe()}")
        if self.cohort_low is not None and self.cohort_low > 0.0:
            raise GateError(
                "the quality gate rejects it: the Submodel of the speaker's "
                f"cohort serves them better, so publish that one (--speaker="
                f"{self.speaker}): {self.describe()}"
            )

    def describe(self) -> str:
        """The figures in a sentence."""
        cohort = ""
        if self.cohort_word_error_rate is not None:
            cohort = (
                f", {100 * self.cohort_word_error_rate:.1f} % of the cohort"
            )
        if self.cohort_low is not None:
            cohort += (
                f" ({self.change_over_cohort_points:+.1f} points, "
                f"{self.cohort_low:+.1f} to {self.cohort_high:+.1f})"
            )
        return (
            f"word error rate {100 * self.base_word_error_rate:.1f} % of the "
            f"base, {100 * self.submodel_word_error_rate:.1f} % of the "
            f"Submodel{cohort}; the change of {self.change_points:+.1f} points "
            f"has the {100 * self.confidence:.0f} % interval {self.low:+.1f} "
            f"to {self.high:+.1f}, which must lie below 0 "
            f"({self.num_utterances} utterances, {self.num_words} words; "
            f"{self.source})"
        )
