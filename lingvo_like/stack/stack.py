"""The stack of a job: the Submodels that are trained together."""

from collections import abc
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from lingvo_like import random_streams, tensor_types
from lingvo_like.stack import rows as slot_rows_lib, trainable
from lingvo_like.submodel import layout as submodel_layout, selection

Tensor: TypeAlias = tensor_types.Tensor

# Starting points are drawn in chunks, so that a stack of thousands never has a
# second copy in memory.
_SLOTS_AT_ONCE = 256


class Stack(trainable.TrainableSubmodels):
    """The Submodels that are trained together, one in each slot.

    Args:
        constants: see `TrainableSubmodels`.
        slot_rows: the rows that the slots have; one row for each slot if None.

    Attributes:
        variables_by_name: variables `[rows, ...]` by tensor name, in the
            layout's order.
        shared_names: names of the variables that all speakers share: none.
    """

    shared_names: frozenset[str] = frozenset()

    def __init__(
        self,
        speakers: abc.Iterable[str],
        layout: submodel_layout.Layout,
        constants: submodel_layout.Constants | None = None,
        slot_rows: slot_rows_lib.SlotRows | None = None,
    ) -> None:
        super().__init__(speakers, layout, constants, name="stack")
        self.slot_rows = slot_rows or slot_rows_lib.SlotRows(self.num_slots)
        self.variables_by_name: dict[str, slot_rows_lib.Variable] = {
            name: tf.Variable(
                tf.zeros([self.slot_rows.num_rows, *shape]), name=name
            )
            for name, shape in layout.shapes.items()
        }

    def initialize(self, seed: int, shared_start: bool = False) -> None:
        """Draws the starting point of every speaker who has a row here."""
        self.start(self.slot_rows.slots, seed, shared_start)

    def start(
        self, slots: slot_rows_lib.Slots, seed: int, shared_start: bool = False
    ) -> None:
        """Draws the starting points of speakers: the identity, ready to learn.

        Each drawn tensor comes from a stream of (seed, speaker), so it does
        not depend on the slot or on the other speakers.

        Args:
            slots: slots that have rows.
            shared_start: whether all speakers draw from one stream.
        """
        deviations = self.layout.initial_deviations
        for first in range(0, len(slots), _SLOTS_AT_ONCE):
            some = slots[first : first + _SLOTS_AT_ONCE]
            for name, variable in self.variables_by_name.items():
                shape = (len(some), *self.layout.shapes[name])
                values = np.zeros(shape, np.float32)
                if name in deviations:
                    for value, slot in zip(values, some, strict=True):
                        whose = "" if shared_start else self.speakers[slot]
                        stream = random_streams.generator(
                            "initial", seed, whose, name
                        )
                        stream.standard_normal(out=value, dtype=np.float32)
                    values *= np.float32(deviations[name])
                self.slot_rows.write(variable, some, values)

    def select(self, row_indices: Tensor) -> dict[str, Tensor]:
        return selection.select(self.variables_by_name, row_indices)

    def trainables(self, row_indices: Tensor) -> dict[str, Tensor]:
        return self.select(row_indices)

    def select_for_training(
        self, trainables: tensor_types.TensorsByName, inputs: object
    ) -> tuple[tensor_types.TensorsByName, Tensor]:
        return trainables, 0.0

    def read(self, slot: int) -> dict[str, np.ndarray]:
        return {
            name: self.slot_rows.read(variable, slot)
            for name, variable in self.variables_by_name.items()
        }

    def write(self, slot: int, tensors: abc.Mapping[str, Tensor]) -> None:
        """Puts the tensors of one Submodel into a slot."""
        for name, variable in self.variables_by_name.items():
            value = np.asarray(tensors[name])[None]
            self.slot_rows.write(variable, [slot], value)
