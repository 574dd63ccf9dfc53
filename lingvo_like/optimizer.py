"""AdamW over the rows of a stack, each slot an optimiser of its own.

Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with moments, step
count, schedule, clipping and learning-rate scale per slot. Only the rows of a
step are read and written: a slot that is absent stays as it is, bit for bit.
"""

import math

import tensorflow as tf

DECAYS = ("constant", "linear", "cosine")


class SlotAdamW(tf.Module):
    """Per-slot AdamW.

    Args:
        variables_by_name: dict of name to variable `[slots, ...]`.
        num_steps: int, a slot's own steps until the schedule reaches zero.
        learning_rate: float, the schedule's peak.
        warmup_steps: int, steps of linear increase.
        decay: one of `DECAYS`.
        beta_1, beta_2, epsilon, weight_decay: floats; the decay is decoupled
            and pulls every tensor to zero, the identity.
        clip_norm: float, largest norm of one slot's gradient over all its
            tensors; 0 for none.

    Attributes:
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
        if decay not in DECAYS:
            raise ValueError(
                f"`decay` must be one of {', '.join(DECAYS)}. "
                f"Received: {decay!r}."
            )
        self._variables = dict(variables_by_name)
        self.num_steps = num_steps
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
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

    def reset(self, slot):
        """Forgets a slot's moments and counts, for a new Submodel in it."""
        for variable in self.state_by_name.values():
            variable.scatter_update(
                tf.IndexedSlices(tf.zeros_like(variable[:1]), [slot])
            )
        self.learning_rate_scale.scatter_update(
            tf.IndexedSlices(tf.ones([1]), [slot])
        )

    def learning_rate_at(self, steps):
        """The schedule at a slot's update count `[speakers]`, first is 1."""
        steps = tf.cast(steps, tf.float32)
        warmup = tf.minimum(1.0, steps / max(1, self.warmup_steps))
        span = max(1, self.num_steps - self.warmup_steps)
        # The last update is the last that still moves: zero comes after it.
        progress = tf.clip_by_value(
            (steps - 1.0 - self.warmup_steps) / span, 0.0, 1.0
        )
        if self.decay == "linear":
            rest = 1.0 - progress
        elif self.decay == "cosine":
            rest = 0.5 * (1.0 + tf.cos(math.pi * progress))
        else:
            rest = tf.ones_like(progress)
        return self.learning_rate * warmup * rest

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
        norms = tf.sqrt(
            tf.add_n(
                [
                    tf.reduce_sum(
                        tf.square(tf.reshape(g, [tf.shape(g)[0], -1])), axis=1
                    )
                    for g in gradients.values()
                ]
            )
        )
        finite = tf.math.is_finite(norms)
        counted = tf.cast(active, tf.int32)
        steps = tf.gather(self.steps, slots) + counted
        self.steps.scatter_update(tf.IndexedSlices(steps, slots))
        skipped = tf.gather(self.skipped, slots) + tf.where(
            finite, tf.zeros_like(counted), counted
        )
        self.skipped.scatter_update(tf.IndexedSlices(skipped, slots))
        taken = tf.logical_and(active, finite)
        clip = tf.ones_like(norms)
        if self.clip_norm:
            clip = self.clip_norm / tf.maximum(norms, self.clip_norm)
        if learning_rate is None:
            learning_rate = self.learning_rate_at(steps)
        rate = learning_rate * tf.gather(self.learning_rate_scale, slots)
        # Bias correction counts the updates that moved the moments.
        moved = tf.cast(tf.maximum(steps - skipped, 1), tf.float32)
        correction_1 = 1.0 - tf.pow(self.beta_1, moved)
        correction_2 = 1.0 - tf.pow(self.beta_2, moved)
        for name, row in rows.items():
            self._update_tensor(
                name,
                slots,
                row,
                gradients[name],
                [
                    tf.reshape(x, [-1] + [1] * (len(row.shape) - 1))
                    for x in (taken, clip, rate, correction_1, correction_2)
                ],
            )
        return norms

    def _update_tensor(self, name, slots, row, gradient, per_speaker):
        taken, clip, rate, correction_1, correction_2 = per_speaker
        first_variable = self.first_moments[name]
        second_variable = self.second_moments[name]
        first_before = tf.gather(first_variable, slots)
        second_before = tf.gather(second_variable, slots)
        gradient = gradient * clip
        first = first_before + (1.0 - self.beta_1) * (gradient - first_before)
        second = second_before + (1.0 - self.beta_2) * (
            tf.square(gradient) - second_before
        )
        direction = (first / correction_1) / (
            tf.sqrt(second / correction_2) + self.epsilon
        )
        new = row - rate * (direction + self.weight_decay * row)
        for variable, value, before in (
            (self._variables[name], new, row),
            (first_variable, first, first_before),
            (second_variable, second, second_before),
        ):
            # A zero gradient is not "no update": choose the old bits.
            variable.scatter_update(
                tf.IndexedSlices(tf.where(taken, value, before), slots)
            )
