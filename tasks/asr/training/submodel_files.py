"""Writes the Submodel file of a speaker of a job."""

import dataclasses
from typing import Any

from lingvo_like.submodel import file as submodel_file
from tasks.asr.data import preparation
from tasks.asr.training import speaker_state, task as task_lib


@dataclasses.dataclass(frozen=True)
class Origin:
    """The making of a job's files, as they describe it.

    Attributes:
        experiment: its registered name.
        base_description: of the base model, as JSON holds it.
    """

    experiment: str
    base_fingerprint: str
    base_description: dict[str, Any] = dataclasses.field(default_factory=dict)


def write(
    path: str,
    origin: Origin,
    task: task_lib.SubmodelTask,
    data: preparation.SpeakerUtterances,
    state: speaker_state.SpeakerState,
) -> None:
    """Writes the Submodel that the stack of a job holds for a speaker now.

    Raises:
        SubmodelError: a weight is not finite.
        OSError: the file cannot be written.
    """
    values = task.experiment
    submodel = submodel_file.create(
        task.stack.layout,
        task.stack.read(data.slot),
        base_fingerprint=origin.base_fingerprint,
        speaker=data.speaker,
        experiment=origin.experiment,
        residual_weight=values.adapter.residual_weight,
        base_description=origin.base_description,
        training={
            "step": state.best_step,
            "dev_loss": state.best_loss,
            "base_dev_loss": state.base_loss,
            "train_utterances": len(data.utterances),
            "train_seconds_of_speech": round(
                sum(u.duration for u in data.utterances), 3
            ),
            "seed": values.train.seed,
        },
    )
    submodel_file.save(path, submodel, values.train.submodel_dtype)
