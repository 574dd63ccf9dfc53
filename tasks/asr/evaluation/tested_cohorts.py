"""The cohorts that stand beside the Submodels of an evaluation."""

import dataclasses
from collections import abc

from lingvo_like.stack import stack as stack_lib
from lingvo_like.submodel import (
    file as submodel_file,
    heard as heard_lib,
    layout as submodel_layout,
)
from tasks.asr.data import preparation
from tasks.asr.training import cohorts, starting_submodels


@dataclasses.dataclass(frozen=True)
class TestedCohorts:
    """The cohorts of a run's speakers.

    Attributes:
        of_speaker: the id of a speaker's cohort; who is in none is missing.
        submodels: by a cohort's id.
    """

    of_speaker: dict[str, str] = dataclasses.field(default_factory=dict)
    submodels: dict[str, submodel_file.Submodel] = dataclasses.field(
        default_factory=dict
    )

    def load(self, stack: stack_lib.Stack, first: int) -> dict[str, int]:
        """Puts the cohorts into the slots from `first` on.

        Returns:
            the slot of each speaker's cohort.
        """
        slots = {cohort: first + i for i, cohort in enumerate(self.submodels)}
        for cohort, submodel in self.submodels.items():
            stack.write(slots[cohort], submodel.tensors)
        return {
            speaker: slots[cohort]
            for speaker, cohort in self.of_speaker.items()
        }

    def heard(self, speaker: str) -> frozenset[str]:
        """The `heard.keys` of what a speaker's cohort has learned from."""
        cohort = self.of_speaker.get(speaker)
        if cohort is None:
            return frozenset()
        return heard_lib.unpack(self.submodels[cohort].metadata.heard)

    def describe(self) -> dict[str, str]:
        """Each cohort in words, with the SHA-256 of its Submodel."""
        return {
            cohorts.title(cohort): submodel.metadata.sha256
            for cohort, submodel in self.submodels.items()
        }


def read(
    starts: starting_submodels.StartingSubmodels,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    base_fingerprint: str,
    layout: submodel_layout.Layout,
) -> TestedCohorts:
    """The cohorts of the speakers of a test set; those of the run.

    A speaker whom the run does not know belongs where the test speech does.

    Raises:
        ValueError: the Submodel of a cohort is gone, altered, or another one.
    """
    found = {}
    for each in data.values():
        cohort = starts.cohort_of.get(each.speaker) or cohorts.find(
            each.utterances, starts.cohorts
        )
        if cohort:
            found[each.speaker] = cohort
    submodels = {}
    for cohort in sorted(set(found.values())):
        submodels[cohort] = starts.load_cohort(cohort)
        metadata = submodels[cohort].metadata
        if (metadata.base_fingerprint, metadata.layout) != (
            base_fingerprint,
            layout,
        ):
            raise ValueError(
                f"{cohorts.title(cohort)}: its Submodel is of another base "
                "model or layout than the run's"
            )
    return TestedCohorts(found, submodels)
