"""Makes, writes and checks the Submodel files of a job."""

import dataclasses
import sys
from collections import abc
from typing import Any

import numpy as np
import tqdm

from lingvo_like.submodel import file as submodel_file, heard as heard_lib
from tasks.asr.data import preparation
from tasks.asr.training import (
    job_state,
    model_directory,
    set_aside as set_aside_lib,
    speaker_state,
    starting_submodels,
    task as task_lib,
)


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


class SubmodelFiles:
    """The files of the speakers of a job.

    Args:
        data: by slot.
    """

    def __init__(
        self,
        directory: model_directory.ModelDirectory,
        origin: Origin,
        state: job_state.JobState,
        data: abc.Mapping[int, preparation.SpeakerUtterances],
    ) -> None:
        self._directory = directory
        self._origin = origin
        self._state = state
        self._stack = state.task.stack
        self._data = data

    def keep(self, slot: int, is_best: bool) -> None:
        """Writes what there is to write after an evaluation.

        Nobody's file is written before something was learned: it would pass
        for one of a Submodel. Where that is all, the file says so with zeros,
        which are the base model.

        Args:
            is_best: whether the weights are the best so far.

        Raises:
            SubmodelError: a weight is not finite.
            OSError: the file cannot be written.
        """
        state = self._state.speakers[slot]
        if is_best:
            tensors = self._stack.read(slot)
            is_untrained = state.steps == 0
            if not (is_untrained and self._stack.layout.is_identity(tensors)):
                self._write(slot, tensors)
        if state.finished and state.best_step == 0 and not state.sha256:
            self._write(slot, None)

    def check(
        self, slots: abc.Iterable[int], set_aside: set_aside_lib.SetAside
    ) -> None:
        """Makes files again that are gone, damaged or not the job's.

        From the checkpoint where it has what the file held; otherwise the
        speaker begins again, and comes out the same. A speaker of a space,
        whose basis has moved on, is set aside.
        """
        processes = self._state.sharding.replicas.processes
        own = [
            [slot, self._write_again(slot)]
            for slot in slots
            if self._state.is_here(slot) and not self._is_there(slot)
        ]
        found = [pair for part in processes.gather(own) for pair in part]
        if found and processes.is_chief:
            names = ", ".join(self._data[slot].speaker for slot, _ in found)
            print(
                "warning: Submodel files are gone, damaged or not of this "
                f"run: {names}",
                file=sys.stderr,
            )
        again = [slot for slot, is_done in found if not is_done]
        if not self._state.task.experiment.space.embedding_dim:
            self._state.begin_again(again)
            return
        for slot in again:
            set_aside.add(
                slot,
                "the Submodel file is gone, and the space has moved on; "
                "tasks.enroll makes another",
            )

    def _is_there(self, slot):
        """Whether a file is as it was written, where one was."""
        state = self._state.speakers[slot]
        if not state.sha256:
            return True
        path = self._directory.submodel(self._data[slot].speaker)
        try:
            metadata = submodel_file.load(path).metadata
        except submodel_file.SubmodelError:
            return False
        if metadata.sha256 == state.sha256:
            return True
        # One of an evaluation after the checkpoint will be written again.
        step = metadata.training.get("step")
        return (
            not state.finished
            and isinstance(step, int)
            and step > state.evaluated_at
            and metadata.speaker == self._data[slot].speaker
            and metadata.base_fingerprint == self._origin.base_fingerprint
        )

    def _write_again(self, slot):
        """Writes what the file held, if the checkpoint has it."""
        candidates: list[dict[str, np.ndarray] | None] = [None]
        if slot in self._state.residents:
            candidates.append(self._stack.read(slot))
        for tensors in candidates:
            made = self._made(slot, tensors)
            if made.metadata.sha256 == self._state.speakers[slot].sha256:
                self._write(slot, tensors)
                return True
        return False

    def _write(self, slot, tensors):
        made = self._made(slot, tensors)
        path = self._directory.submodel(made.metadata.speaker)
        dtype = made.metadata.dtype
        submodel_file.save(path, made, dtype)
        self._state.speakers[slot].sha256 = made.metadata.sha256
        wanted = self._state.task.experiment.train.submodel_dtype
        if dtype != wanted:
            tqdm.tqdm.write(
                f"warning: {path}: a value is too large for {wanted}, so the "
                f"file is {dtype}",
                file=sys.stderr,
            )

    def _made(self, slot, tensors):
        return make(
            self._origin,
            self._state.task,
            self._data[slot],
            self._state.speakers[slot],
            tensors,
            self._state.starts,
        )


def make(
    origin: Origin,
    task: task_lib.SubmodelTask,
    data: preparation.SpeakerUtterances,
    state: speaker_state.SpeakerState,
    tensors: abc.Mapping[str, np.ndarray] | None = None,
    starts: starting_submodels.StartingSubmodels | None = None,
) -> submodel_file.Submodel:
    """The Submodel of a speaker, as its file holds it.

    A value that is too large for the experiment's dtype makes it a file of
    float32, since nobody would be served what was not judged.

    Args:
        tensors: by name; zeros, which are the base model, if None.
        starts: of the job, if speakers start from Submodels.

    Raises:
        SubmodelError: a weight is not finite.
    """
    values, layout = task.experiment, task.stack.layout
    heard = heard_lib.keys(each.sha256 for each in data.utterances)
    if starts is not None:
        heard |= starts.heard(data.speaker)
    if tensors is None:
        tensors = {n: np.zeros(s, np.float32) for n, s in layout.shapes.items()}
    submodel = submodel_file.create(
        layout,
        tensors,
        base_fingerprint=origin.base_fingerprint,
        speaker=data.speaker,
        language=data.language,
        experiment=origin.experiment,
        base_description=origin.base_description,
        training={
            "step": state.best_step,
            "dev_loss": state.best_loss,
            "base_dev_loss": state.base_loss,
            "start_dev_loss": state.start_loss,
            "train_utterances": len(data.utterances),
            "train_seconds_of_speech": round(
                sum(u.duration for u in data.utterances), 3
            ),
            "seed": values.train.seed,
        },
        started_from=starts.described(data.speaker) if starts else None,
        heard=heard_lib.pack(heard),
    )
    dtype = values.train.submodel_dtype
    if not submodel_file.fits(submodel, dtype):
        dtype = "float32"
    return submodel_file.rounded(submodel, dtype)
