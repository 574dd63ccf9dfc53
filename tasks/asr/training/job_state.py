"""The state of a job: all that changes while it trains, and is saved."""

import dataclasses
from collections import abc
from typing import Any

import numpy as np

from lingvo_like.base_models import base_model
from lingvo_like.space import embedding_space
from lingvo_like.stack import rows as slot_rows
from params import schema
from tasks.asr.batches import minibatch_schedule, speaker_places
from tasks.asr.data import preparation
from tasks.asr.training import (
    checkpoint,
    sharding,
    speaker_state,
    starting_submodels,
    task,
)
from tpu.distribute import replicas as replicas_lib

# Speakers whose starts are in memory at a time.
_STARTS_AT_ONCE = 64
# What a process knows of its own speakers alone: an update may have failed for
# want of a recording.
_OWN_VALUES = ("steps", "loss_sum", "loss_count", "sha256")


class JobState:
    """The counts and losses of all speakers, and the rows of their tensors.

    Every process of a job has a `JobState`, and all have to agree. What only
    the process that trains a speaker knows is shared by `share`.

    Args:
        task: made with the rows of `sharding`.

    Attributes:
        speakers: `SpeakerState` by slot.
        history: the losses of the evaluations, a dict each.
        job_step: steps that the job has taken.
        variables: by name, what has tensors: a `SlotTensor` or `SharedTensor`.
        starts: the Submodels that speakers of a stack start from, if any do.
    """

    def __init__(self, task: task.SubmodelTask, sharding: sharding.Sharding):
        self.task = task
        self.sharding = sharding
        self.speakers = [
            speaker_state.SpeakerState() for _ in task.stack.speakers
        ]
        self.history: list[dict[str, Any]] = []
        self.job_step = 0
        self.starts: starting_submodels.StartingSubmodels | None = None
        self._processes = sharding.replicas.processes
        rows = self._rows = sharding.slot_rows
        # Rows that slots take in turn.
        self._pool = rows if isinstance(rows, slot_rows.PooledRows) else None
        shared_names = task.shared_names
        self.variables = {
            name: slot_rows.SharedTensor(variable)
            if name in shared_names
            else slot_rows.SlotTensor(variable, self._rows)
            for name, variable in task.state_by_name.items()
        }

    @property
    def residents(self) -> list[int]:
        """The slots that have rows, in any process."""
        return self._rows.order.tolist()

    def is_here(self, slot: int) -> bool:
        """Whether this process trains the slot."""
        return self._rows.is_here(slot)

    def admit(self, unfinished: abc.Iterable[int]) -> list[int]:
        """Gives rows of finished slots to waiting ones, and returns these."""
        pool, unfinished = self._pool, set(unfinished)
        present = set(self.residents)
        waiting = unfinished - present
        if pool is None or not waiting:
            return []
        leaving = present - unfinished
        pool.leave(leaving)
        # Who was set aside begins again, should the recordings come back.
        self._forget(s for s in leaving if not self.speakers[s].finished)
        admitted = pool.take(
            speaker_places.in_turn(
                waiting, present & unfinished, self.sharding.places_of
            )
        )
        self._start(admitted)
        return admitted

    def begin_again(self, slots: abc.Collection[int]) -> None:
        """Puts speakers back to their start, from where they come out the same.

        Not in a space, whose basis has moved on.
        """
        self._forget(slots)
        self._start(sorted(set(slots) & set(self.residents)))

    def put_starts(self, slots: abc.Sequence[int]) -> list[int]:
        """Puts speakers who have rows at the Submodels that they start from.

        Returns:
            the slots of those who start from one that is not the base model.
        """
        names, moved = self.task.stack.speakers, []
        if self.starts is None:
            return moved
        for first in range(0, len(slots), _STARTS_AT_ONCE):
            some = slots[first : first + _STARTS_AT_ONCE]
            found = {slot: self.starts.tensors(names[slot]) for slot in some}
            found = {slot: each for slot, each in found.items() if each}
            for name, variable in self.task.stack.variables_by_name.items():
                if found:
                    values = np.stack([each[name] for each in found.values()])
                    self._rows.write(variable, list(found), values)
            moved += found
        return moved

    def put_base(self, slots: abc.Sequence[int]) -> None:
        """Makes slots of a stack, which have rows, the base model."""
        for variable in self.task.stack.variables_by_name.values():
            zeros = np.zeros((len(slots), *variable.shape[1:]), np.float32)
            self._rows.write(variable, slots, zeros)

    def _start(self, slots):
        """Puts slots of a stack, which have rows, where they start."""
        experiment = self.task.experiment
        stack: Any = self.task.stack
        optimizer: Any = self.task.optimizer
        stack.start(
            slots, experiment.train.seed, experiment.submodel.shared_start
        )
        optimizer.reset(self._rows, slots)
        self.put_starts(slots)

    def _forget(self, slots):
        """Drops what is known of the speakers besides their tensors."""
        slots = list(slots)
        names = {self.task.stack.speakers[slot] for slot in slots}
        self.history = [r for r in self.history if r["speaker"] not in names]
        for slot in slots:
            self.speakers[slot] = speaker_state.SpeakerState()

    def record_step(
        self,
        group: minibatch_schedule.Group,
        losses: np.ndarray,
        norms: np.ndarray,
    ) -> None:
        """Counts an update of each speaker of a group.

        Args:
            losses, norms: `[all_places]`; NaN where another process knows.
        """
        self.job_step += 1
        for place, minibatch in group.placed:
            state = self.speakers[minibatch.slot]
            state.steps += 1
            if np.isfinite(norms[place]):
                state.loss_sum += float(losses[place])
                state.loss_count += 1

    def share(self) -> None:
        """Tells all processes what each alone knows of its speakers."""
        self._share_own()
        self._share_embeddings()
        skipped = self._rows.read_all(self.task.optimizer.skipped).tolist()
        own = [self._rows.slots.tolist(), skipped]
        for slots, counts in self._processes.gather(own):
            for slot, count in zip(slots, counts, strict=True):
                self.speakers[slot].skipped = count

    def _share_own(self):
        if self._processes.count == 1:
            return
        own = {
            slot: {
                name: getattr(self.speakers[slot], name) for name in _OWN_VALUES
            }
            for slot in self._rows.slots.tolist()
        }
        for values in self._processes.gather(list(own.items())):
            for slot, of_slot in values:
                for name, value in of_slot.items():
                    setattr(self.speakers[slot], name, value)

    def _share_embeddings(self):
        """Only the replica that trains a speaker has moved its embedding."""
        name = f"weight/{embedding_space.EMBEDDING}"
        if self.sharding.replicas.is_plain or name not in self.variables:
            return
        embeddings: Any = self.variables[name]
        own = np.asarray(embeddings)
        shared = np.zeros((len(self.speakers), own.shape[1]), np.float32)
        for slots, rows in self._processes.gather(
            [embeddings.slots.tolist(), own.tolist()]
        ):
            shared[slots] = rows
        embeddings.assign(shared)

    def save(self, directory: str) -> None:
        """Writes a checkpoint of everything that the run depends on."""
        self._share_own()
        state = {
            "job_step": self.job_step,
            "history": self.history,
            "speakers": [dataclasses.asdict(s) for s in self.speakers],
            "residents": self.residents,
        }
        checkpoint.save(directory, self.variables, state, self._processes)

    def restore(self, directory: str) -> bool:
        """Continues from the newest checkpoint. Returns whether there is one.

        Raises:
            CheckpointError: as `checkpoint.restore`.
            ValueError: the processes see different checkpoints.
        """
        rowless: list[int] = []

        def give_rows(saved: dict[str, Any]) -> None:
            if self._pool is not None:
                rowless.extend(self._pool.expect(saved["residents"]))

        saved = checkpoint.restore(directory, self.variables, give_rows)
        # A stale directory listing could miss the newest checkpoint.
        self._processes.check_same(
            "the newest checkpoint", saved and saved["job_step"]
        )
        if saved is None:
            return False
        # On other replicas, one may have more speakers than rows. Those
        # speakers begin again, and come out the same.
        if self._pool is not None and rowless:
            self._pool.leave(rowless)
        self.job_step = saved["job_step"]
        self.history = saved["history"]
        self.speakers = [
            speaker_state.SpeakerState(**state) for state in saved["speakers"]
        ]
        self._forget(rowless)
        return True


def create(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    replicas: replicas_lib.Replicas | None = None,
    speakers: abc.Sequence[str] = (),
) -> JobState:
    """A new job, at the start of every speaker.

    Args:
        data: by slot.
        speakers: ids by slot, where some have no data; those of `data` if
            empty.
    """
    replicas = replicas or replicas_lib.Replicas()
    speakers = speakers or [data[slot].speaker for slot in range(len(data))]
    shards = sharding.shard(replicas, base, experiment, data, len(speakers))
    with replicas.scope():
        made = task.SubmodelTask(
            base, experiment, speakers, slot_rows=shards.slot_rows
        )
    return JobState(made, shards)
