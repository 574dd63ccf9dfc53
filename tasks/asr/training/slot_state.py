"""The variables of a job as tensors of slots, wherever their rows are."""

import numpy as np

from lingvo_like.space import embedding_space
from lingvo_like.stack import rows as slot_rows
from tasks.asr.batches import placement
from tasks.asr.training import stacks


class SlotState:
    """What a checkpoint holds of a `SubmodelTask`.

    Args:
        task: `SubmodelTask`.
        sharding: `Sharding` that it was made with.

    Attributes:
        by_name: dict of name to a variable, `SlotTensor` or `SharedTensor`.
    """

    def __init__(self, task, sharding):
        self._task = task
        self._places_of = sharding.places_of
        self._slot_rows = sharding.slot_rows
        self._is_pooled = isinstance(self._slot_rows, slot_rows.PooledRows)
        self._processes = sharding.replicas.processes
        self.by_name = task.state_by_name
        self._embeddings = None
        self._rowless = []
        if sharding.replicas.is_plain and not self._is_pooled:
            return
        self.by_name = {
            name: slot_rows.SlotTensor(variable, self._slot_rows)
            if stacks.is_per_slot(task.stack, name)
            else slot_rows.SharedTensor(variable)
            for name, variable in self.by_name.items()
        }
        if task.experiment.space.embedding_dim:
            self._embeddings = self.by_name[
                f"weight/{embedding_space.EMBEDDING}"
            ]

    @property
    def residents(self):
        """The slots that have rows, in any process; what `expect` is told."""
        return self._slot_rows.order.tolist()

    def admit(self, unfinished):
        """Gives rows to those who wait, in place of those who are done.

        Args:
            unfinished: slots that have not finished.

        Returns:
            list of slots that begin.
        """
        if not self._is_pooled:
            return []
        rows, unfinished = self._slot_rows, set(unfinished)
        present = set(self.residents)
        waiting = unfinished - present
        if not waiting:
            return []
        rows.leave(present - unfinished)
        come = rows.take(
            placement.in_turn(waiting, present & unfinished, self._places_of)
        )
        experiment = self._task.experiment
        self._task.stack.start(
            come, experiment.train.seed, experiment.adapter.shared_start
        )
        self._task.optimizer.reset(rows, come)
        return come

    def expect(self, saved):
        """Gives the rows to those whose tensors come next.

        Args:
            saved: dict of a checkpoint, with `residents` as it was here; those
                without it have everybody's tensors.
        """
        if not self._is_pooled:
            return
        residents = saved.get("residents")
        if residents is None:
            residents = range(len(self._places_of))
        self._rowless = self._slot_rows.expect(residents)

    def settle(self):
        """Forgets those who found no row, after what was expected has come.

        With other replicas, one may have more speakers than it has rows.

        Returns:
            list of their slots.
        """
        rowless, self._rowless = self._rowless, []
        if rowless:
            self._slot_rows.leave(rowless)
        return rowless

    def agree(self):
        """Puts each speaker's embedding, which its owner moved, everywhere."""
        if self._embeddings is None:
            return
        own = np.asarray(self._embeddings)
        everybodys = np.zeros(self._embeddings.shape, np.float32)
        for slots, rows in self._processes.gather(
            [self._embeddings.slots.tolist(), own.tolist()]
        ):
            everybodys[slots] = rows
        self._embeddings.assign(everybodys)

    def skipped(self):
        """Dict of slot to its updates with a gradient that was not finite."""
        own = [
            self._slot_rows.slots.tolist(),
            self._slot_rows.read_all(self._task.optimizer.skipped).tolist(),
        ]
        return {
            slot: count
            for slots, counts in self._processes.gather(own)
            for slot, count in zip(slots, counts, strict=True)
        }
