"""AdamW over the rows of a stack, each slot an optimiser of its own.

The arithmetic is that of `adamw`; here are its variables. Only the rows of a
step are read and written: a slot that is absent stays as it is, bit for bit.
"""

import numpy as np
import tensorflow as tf

from lingvo_like.stack import adamw


class SlotAdamW(tf.Module):
    """Per-slot AdamW.

    Args:
        variables_by_name: dict of name to variable `[slots, ...]`.
        num_steps, learning_rate, warmup_steps, decay, beta_1, beta_2, epsilon,
            weight_decay, clip_norm: as `adamw.AdamW`'s.

    Attributes:
        rule: `adamw.AdamW`.
        steps: variable `[slots]` int32, updates that each slot has had.
        skipped: variable `[slots]` int32, steps whose gradient was not finite;
            such a step counts, and leaves weights and moments alone.
        learning_rate_scale: variable `[slots]` float32.
    """

    def __init__(
        self,
        variables_by_name,
        num_steps,
        learning_rate=1e-3,
        warmup_steps=0,
        decay="cosine",
        beta_1=0.9,
        beta_2=0.98,
        epsilon=1e-8,
        weight_decay=0.0,
        clip_norm=1.0,
    ):
        super().__init__(name="slot_adamw")
        self.rule = adamw.AdamW(
            num_steps=num_steps,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            decay=decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
        )
        self._variables = dict(variables_by_name)
        num_slots = next(iter(self._variables.values())).shape[0]
        self.first_moments = self._like_variables("first_moment")
        self.second_moments = self._like_variables("second_moment")
        self.steps = tf.Variable(tf.zeros([num_slots], tf.int32), name="steps")
        self.skipped = tf.Variable(
            tf.zeros([num_slots], tf.int32), name="skipped"
        )
        self.learning_rate_scale = tf.Variable(
            tf.ones([num_slots]), name="learning_rate_scale"
        )

    def _like_variables(self, kind):
        return {
            name: tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                name=f"{kind}/{name}",
                trainable=False,
            )
            for name, variable in self._variables.items()
        }

    @property
    def state_by_name(self):
        """Every variable of the optimiser by a stable name."""
        state = {
            "steps": self.steps,
            "skipped": self.skipped,
            "learning_rate_scale": self.learning_rate_scale,
        }
        for name in self._variables:
            state[f"first_moment/{name}"] = self.first_moments[name]
            state[f"second_moment/{name}"] = self.second_moments[name]
        return state

    def reset(self, slot_rows, slots):
        """Forgets slots' moments and counts, for new Submodels in their rows.

        Args:
            slot_rows: `SlotRows` of the variables.
            slots: sequence of slots that have rows.
        """
        for variable in self.state_by_name.values():
            value = 1 if variable is self.learning_rate_scale else 0
            values = np.full(
                (len(slots), *variable.shape[1:]),
                value,
                variable.dtype.as_numpy_dtype,
            )
            slot_rows.write(variable, slots, values)

    def learning_rate_at(self, steps):
        """The schedule at a slot's update count `[speakers]`, first is 1."""
        return self.rule.learning_rate_at(steps)

    def update(self, slots, active, rows, gradients, learning_rate=None):
        """One step of the slots that are active.

        Args:
            slots: `[speakers]` int32, all different.
            active: `[speakers]` bool; where False the place is empty and its
                slot is written back unchanged.
            rows: dict of name to `[speakers, ...]`, the weights now.
            gradients: dict like `rows`, of each speaker's own loss.
            learning_rate: float scalar in place of the schedule's at each
                slot's own steps, or None.

        Returns:
            The gradient norm of each speaker before clipping, `[speakers]`.
        """
        update = self.rule.update(
            self._state(slots, rows),
            active,
            rows,
            gradients,
            learning_rate,
            add=tf.add_n,
        )
        after = update.state
        written = [(self.steps, after.steps), (self.skipped, after.skipped)]
        for name, row in update.rows.items():
            written += [
                (self._variables[name], row),
                (self.first_moments[name], after.first_moments[name]),
                (self.second_moments[name], after.second_moments[name]),
            ]
        for variable, value in written:
            variable.scatter_update(tf.IndexedSlices(value, slots))
        return update.norms

    def _state(self, slots, names):
        """`adamw.State` of the slots now."""

        def gather(moments):
            return {name: tf.gather(moments[name], slots) for name in names}

        return adamw.State(
            tf.gather(self.steps, slots),
            tf.gather(self.skipped, slots),
            tf.gather(self.learning_rate_scale, slots),
            gather(self.first_moments),
            gather(self.second_moments),
        )
