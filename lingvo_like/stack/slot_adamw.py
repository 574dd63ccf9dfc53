"""AdamW over the rows of a stack, each slot an optimizer of its own.

`adamw` has the arithmetic; here are its variables. A step reads and writes only
its own rows, so an absent slot stays as it is, bit for bit.
"""

from collections import abc

import numpy as np
import tensorflow as tf

from lingvo_like import tensor_types
from lingvo_like.stack import adamw, rows as slot_rows_lib
from lingvo_like.submodel import selection


class SlotAdamW(tf.Module):
    """Per-slot AdamW.

    Args:
        variables_by_name: variables `[rows, ...]` to move.
        rule: how they move.

    Attributes:
        steps: variable `[rows]` int32, updates that each slot has had.
        skipped: variable `[rows]` int32, updates whose gradient was not finite;
            such an update counts, and leaves weights and moments as they are.
        first_moments, second_moments: variables `[rows, ...]` by name.
        shared_names: names of the variables that all slots share: none.
    """

    shared_names: frozenset[str] = frozenset()

    def __init__(
        self,
        variables_by_name: abc.Mapping[str, slot_rows_lib.Variable],
        rule: adamw.AdamW,
    ) -> None:
        super().__init__(name="slot_adamw")
        self.rule = rule
        self._variables = dict(variables_by_name)
        num_rows = next(iter(self._variables.values())).shape[0]
        self.first_moments = self._like_variables("first_moment")
        self.second_moments = self._like_variables("second_moment")
        self.steps = tf.Variable(tf.zeros([num_rows], tf.int32), name="steps")
        self.skipped = tf.Variable(
            tf.zeros([num_rows], tf.int32), name="skipped"
        )

    def _like_variables(self, prefix: str) -> dict[str, slot_rows_lib.Variable]:
        return {
            name: tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                name=f"{prefix}/{name}",
                trainable=False,
            )
            for name, variable in self._variables.items()
        }

    @property
    def state_by_name(self) -> dict[str, slot_rows_lib.Variable]:
        state = {"steps": self.steps, "skipped": self.skipped}
        for name in self._variables:
            state[f"first_moment/{name}"] = self.first_moments[name]
            state[f"second_moment/{name}"] = self.second_moments[name]
        return state

    def reset(
        self, slot_rows: slot_rows_lib.SlotRows, slots: slot_rows_lib.Slots
    ) -> None:
        """Clears moments and counts, for new Submodels in the slots' rows."""
        for variable in self.state_by_name.values():
            shape = (len(slots), *variable.shape[1:])
            zeros = np.zeros(shape, variable.dtype.as_numpy_dtype)
            slot_rows.write(variable, slots, zeros)

    def update(
        self,
        row_indices: tf.Tensor,
        active: tf.Tensor,
        weights: tensor_types.TensorsByName,
        gradients: tensor_types.TensorsByName,
        learning_rate: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """One step of the slots that are active.

        Args:
            row_indices: `[speakers]` int32, all different.
            active: `[speakers]` bool; where False the place is empty and its
                row is written back unchanged.
            weights: `[speakers, ...]` by name, before the step.
            gradients: like `weights`, of each speaker's own loss.
            learning_rate: float scalar that replaces the schedule.

        Returns:
            The gradient norm `[speakers]` before clipping.
        """
        before = adamw.State(
            tf.gather(self.steps, row_indices),
            tf.gather(self.skipped, row_indices),
            selection.select(self.first_moments, row_indices),
            selection.select(self.second_moments, row_indices),
        )
        update = self.rule.update(
            before, active, weights, gradients, learning_rate, add=tf.add_n
        )
        after = update.state
        written = [(self.steps, after.steps), (self.skipped, after.skipped)]
        for name, after_weights in update.weights.items():
            written += [
                (self._variables[name], after_weights),
                (self.first_moments[name], after.first_moments[name]),
                (self.second_moments[name], after.second_moments[name]),
            ]
        for variable, value in written:
            variable.scatter_update(tf.IndexedSlices(value, row_indices))
        return update.norms
