"""The Submodel that a newcomer gets without being known: a cohort's.

That of the run's cohort to which the newcomer belongs, or else the mean of the
space, which is the same for everybody too. It stands beside what is personal,
and is kept where that is no better.
"""

import dataclasses
from collections import abc

import numpy as np

from lingvo_like.space import file as space_file
from lingvo_like.submodel import heard as heard_lib
from tasks.asr.data import preparation
from tasks.asr.training import (
    cohorts,
    model_directory,
    start_sources,
    starting_submodels,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A Submodel that knows nothing of the newcomer.

    Attributes:
        title: in words.
        tensors: by name; those of the space's mean if None.
        started_from: as in the metadata of a Submodel that is this one.
    """

    title: str
    tensors: dict[str, np.ndarray] | None = None
    started_from: dict[str, str] = dataclasses.field(default_factory=dict)


MEAN = Baseline("the space's mean")


def of_run(
    folder: str,
    space: space_file.Space,
    train: abc.Mapping[str, preparation.TokenizedUtterances],
    dev: abc.Mapping[str, preparation.TokenizedUtterances],
) -> dict[str, Baseline | None]:
    """The baselines of newcomers, by speaker.

    Nobody is judged beside a cohort that has heard them: they have None, as
    have speakers of the space.

    Args:
        folder: of the run that trained the space.
        train, dev: what the newcomers learn from and are judged by.

    Raises:
        ValueError: the Submodel of a cohort is gone, altered, or of another
            base model or layout than the space.
    """
    directory = model_directory.ModelDirectory(folder)
    starts = starting_submodels.of_run(
        directory, directory.read_experiment() or {}
    )
    result: dict[str, Baseline | None] = {}
    for speaker, data in train.items():
        if speaker in space.speakers:
            result[speaker] = None
            continue
        cohort = cohorts.find(data.utterances, starts.cohorts)
        if cohort is None:
            result[speaker] = MEAN
            continue
        found = starts.load_cohort(cohort)
        metadata = found.metadata
        if (metadata.base_fingerprint, metadata.layout) != (
            space.metadata.base_fingerprint,
            space.layout,
        ):
            raise ValueError(
                f"{folder}: the {cohorts.title(cohort)} is of another base "
                "model or layout than the space"
            )
        utterances = data.utterances
        if speaker in dev:
            utterances += dev[speaker].utterances
        own = heard_lib.keys(each.sha256 for each in utterances)
        result[speaker] = Baseline(
            cohorts.title(cohort),
            found.tensors,
            {
                "sha256": metadata.sha256,
                "speaker": cohort,
                "source": start_sources.RUN,
            },
        )
        if own & heard_lib.unpack(metadata.heard):
            result[speaker] = None
    return result
