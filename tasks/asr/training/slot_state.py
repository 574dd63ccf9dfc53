"""The variables of a job as tensors of slots, wherever their rows are."""

import numpy as np

from lingvo_like import embedding_space, slot_rows
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
        self._slot_rows = sharding.slot_rows
        self._workers = sharding.replicas.workers
        self.by_name = task.state_by_name
        self._embeddings = None
        if sharding.replicas.is_plain:
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

    def agree(self):
        """Puts each speaker's embedding, which its owner moved, everywhere."""
        if self._embeddings is None:
            return
        own = np.asarray(self._embeddings)
        everybodys = np.zeros(self._embeddings.shape, np.float32)
        for slots, rows in self._workers.gather(
            [self._embeddings.slots.tolist(), own.tolist()]
        ):
            everybodys[slots] = rows
        self._embeddings.assign(everybodys)

    def total(self, variable):
        """The sum of a variable's rows over all slots of the job."""
        own = self._slot_rows.read_all(variable).sum()
        return sum(self._workers.gather(float(own)))
