"""The arithmetic of AdamW over rows, each row an optimiser of its own.

Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with moments, step
count, schedule, clipping and learning-rate scale per slot. Functions of tensors
alone, in `keras.ops`: whoever holds the stack gathers a step's rows before and
puts them back after, under TensorFlow (`optimizer.SlotAdamW`) as under JAX.
"""

import collections
import dataclasses
import math

from keras import ops

DECAYS = ("constant", "linear", "cosine")

# What the optimiser knows of a step's slots: `steps`, `skipped` `[speakers]`
# int32, `learning_rate_scale` `[speakers]` float32, and the moments, dicts of
# name to `[speakers, ...]`.
State = collections.namedtuple(
    "State", "steps skipped learning_rate_scale first_moments second_moments"
)

# What a step leaves: the new rows and their `State`, and the gradient norm of
# each speaker before clipping, `[speakers]`.
Update = collections.namedtuple("Update", "rows state norms")


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Per-slot AdamW, without the slots.

    Attributes:
        num_steps: int, a slot's own steps until the schedule reaches zero.
        learning_rate: float, the schedule's peak.
        warmup_steps: int, steps of linear increase.
        decay: one of `DECAYS`.
        beta_1, beta_2, epsilon, weight_decay: floats; the decay is decoupled
            and pulls every tensor to zero, the identity.
        clip_norm: float, largest norm of one slot's gradient over all its
            tensors; 0 for none.

    Raises:
        ValueError: there is no such decay.
    """

    num_steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    decay: str = "cosine"
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self):
        if self.decay not in DECAYS:
            raise ValueError(
                f"`decay` must be one of {', '.join(DECAYS)}. "
                f"Received: {self.decay!r}."
            )

    def learning_rate_at(self, steps):
        """The schedule at a slot's update count `[speakers]`, first is 1."""
        steps = ops.cast(steps, "float32")
        warmup = ops.minimum(1.0, steps / max(1, self.warmup_steps))
        span = max(1, self.num_steps - self.warmup_steps)
        # The last update is the last that still moves: zero comes after it.
        progress = ops.clip((steps - 1.0 - self.warmup_steps) / span, 0.0, 1.0)
        if self.decay == "linear":
            rest = 1.0 - progress
        elif self.decay == "cosine":
            rest = 0.5 * (1.0 + ops.cos(math.pi * progress))
        else:
            rest = ops.ones_like(progress)
        return self.learning_rate * warmup * rest

    def update(
        self, state, active, rows, gradients, learning_rate=None, add=sum
    ):
        """One step of the slots that are active.

        Args:
            state: `State` of the step's slots.
            active: `[speakers]` bool; where False the place is empty, and its
                row and state come back bit for bit.
            rows: dict of name to `[speakers, ...]`, the weights now.
            gradients: dict like `rows`, of each speaker's own loss.
            learning_rate: float scalar in place of the schedule's at each
                slot's own steps, or None.
            add: function of a list of tensors; a backend's own may round
                otherwise than one sum after the other.

        Returns:
            `Update`.
        """
        norms = gradient_norms(gradients, add)
        finite = ops.isfinite(norms)
        counted = ops.cast(active, "int32")
        steps = state.steps + counted
        skipped = state.skipped + ops.where(
            finite, ops.zeros_like(counted), counted
        )
        taken = ops.logical_and(active, finite)
        clip = ops.ones_like(norms)
        if self.clip_norm:
            clip = self.clip_norm / ops.maximum(norms, self.clip_norm)
        if learning_rate is None:
            learning_rate = self.learning_rate_at(steps)
        rate = learning_rate * state.learning_rate_scale
        # Bias correction counts the updates that moved the moments.
        moved = ops.cast(ops.maximum(steps - skipped, 1), "float32")
        corrections = (
            1.0 - ops.power(self.beta_1, moved),
            1.0 - ops.power(self.beta_2, moved),
        )
        new, first, second = {}, {}, {}
        for name, row in rows.items():
            new[name], first[name], second[name] = self._moved(
                row,
                gradients[name],
                state.first_moments[name],
                state.second_moments[name],
                [
                    ops.reshape(x, [-1] + [1] * (len(row.shape) - 1))
                    for x in (taken, clip, rate, *corrections)
                ],
            )
        state = State(steps, skipped, state.learning_rate_scale, first, second)
        return Update(new, state, norms)

    def _moved(self, row, gradient, first_before, second_before, per_speaker):
        """One tensor's rows and moments after the step."""
        taken, clip, rate, correction_1, correction_2 = per_speaker
        gradient = gradient * clip
        first = first_before + (1.0 - self.beta_1) * (gradient - first_before)
        second = second_before + (1.0 - self.beta_2) * (
            ops.square(gradient) - second_before
        )
        direction = (first / correction_1) / (
            ops.sqrt(second / correction_2) + self.epsilon
        )
        new = row - rate * (direction + self.weight_decay * row)
        # A zero gradient is not "no update": choose the old bits.
        return tuple(
            ops.where(taken, value, before)
            for value, before in (
                (new, row),
                (first, first_before),
                (second, second_before),
            )
        )


def gradient_norms(gradients, add=sum):
    """The norm of each speaker's gradient over all its tensors.

    Args:
        gradients: dict of name to `[speakers, ...]`.
        add: as in `AdamW.update`.

    Returns:
        `[speakers]`.
    """
    return ops.sqrt(
        add(
            [
                ops.sum(
                    ops.square(ops.reshape(g, (ops.shape(g)[0], -1))), axis=1
                )
                for g in gradients.values()
            ]
        )
    )
