"""The arithmetic of AdamW over slots, each slot an optimizer of its own.

Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with moments, step
count, schedule and clipping per slot. These are functions of tensors in
`keras.ops`. The owner of the stack gathers a step's rows before them and puts
them back afterwards, under TensorFlow (`slot_adamw.SlotAdamW`) as under JAX.
"""

import dataclasses
import functools
from collections import abc
from typing import NamedTuple, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.stack import learning_rate as learning_rate_lib

Tensor: TypeAlias = tensor_types.Tensor
# Adds a list of tensors. A backend's own function may round differently from
# one sum after the other.
AddFunction = abc.Callable[[list], Tensor]


class State(NamedTuple):
    """The optimizer's state of a step's slots.

    Attributes:
        steps: `[speakers]` int32, updates that each slot has had.
        skipped: `[speakers]` int32, those whose gradient was not finite.
        first_moments: `[speakers, ...]` by name.
        second_moments: `[speakers, ...]` by name.
    """

    steps: Tensor
    skipped: Tensor
    first_moments: tensor_types.TensorsByName
    second_moments: tensor_types.TensorsByName


class Update(NamedTuple):
    """The new weights and state, and each speaker's norm before clipping."""

    weights: tensor_types.TensorsByName
    state: State
    norms: Tensor


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Per-slot AdamW, without the slots.

    Attributes:
        num_steps: a slot's own steps until the schedule reaches zero.
        learning_rate: the schedule's peak.
        warmup_steps: steps of linear increase.
        decay: one of `choices.DECAYS`.
        weight_decay: decoupled; pulls every tensor to zero, the identity.
        clip_norm: largest norm of one slot's gradient over all its tensors; 0
            turns clipping off.

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

    def __post_init__(self) -> None:
        learning_rate_lib.check_decay(self.decay)

    def learning_rate_at(self, steps: Tensor) -> Tensor:
        """The learning rate `[speakers]` of each slot's own update."""
        return learning_rate_lib.at(
            steps,
            self.num_steps,
            self.learning_rate,
            self.warmup_steps,
            self.decay,
        )

    def update(
        self,
        state: State,
        active: Tensor,
        weights: tensor_types.TensorsByName,
        gradients: tensor_types.TensorsByName,
        learning_rate: Tensor | None = None,
        add: AddFunction = sum,
    ) -> Update:
        """One step of the slots that are active.

        Args:
            state: of the step's slots.
            active: `[speakers]` bool; where False the place is empty, and its
                weights and state come back bit for bit.
            weights: `[speakers, ...]` by name, before the step.
            gradients: like `weights`, of each speaker's own loss.
            learning_rate: float scalar that replaces the schedule.
            add: adds the squares of a speaker's gradients.
        """
        squares = [
            ops.sum(ops.square(ops.reshape(g, (ops.shape(g)[0], -1))), axis=1)
            for g in gradients.values()
        ]
        norms = ops.sqrt(add(squares))
        finite = ops.isfinite(norms)
        counted = ops.cast(active, "int32")
        steps = state.steps + counted
        skipped = state.skipped + ops.where(
            finite, ops.zeros_like(counted), counted
        )
        taken = ops.logical_and(active, finite)
        clip = ops.ones_like(norms)
        if self.clip_norm:
            clip = ops.divide(
                self.clip_norm, ops.maximum(norms, self.clip_norm)
            )
        if learning_rate is None:
            learning_rate = self.learning_rate_at(steps)
        # Bias correction counts the updates that moved the moments.
        moved = ops.cast(ops.maximum(steps - skipped, 1), "float32")
        corrections = (
            ops.subtract(1.0, ops.power(self.beta_1, moved)),
            ops.subtract(1.0, ops.power(self.beta_2, moved)),
        )

        # Made once for all tensors of a rank: each operation of a step adds to
        # the time of compiling it.
        @functools.cache
        def per_speaker(rank: int) -> list[Tensor]:
            return [
                ops.reshape(x, [-1] + [1] * (rank - 1))
                for x in (taken, clip, learning_rate, *corrections)
            ]

        new, first, second = {}, {}, {}
        for name, before in weights.items():
            new[name], first[name], second[name] = self._moved(
                before,
                gradients[name],
                state.first_moments[name],
                state.second_moments[name],
                per_speaker(len(before.shape)),
            )
        state = State(steps, skipped, first, second)
        return Update(new, state, norms)

    def _moved(
        self, before, gradient, first_before, second_before, per_speaker
    ):
        """One tensor's weights and moments after the step."""
        taken, clip, rate, correction_1, correction_2 = per_speaker
        gradient = gradient * clip
        first = first_before + (1.0 - self.beta_1) * (gradient - first_before)
        second = second_before + (1.0 - self.beta_2) * (
            ops.square(gradient) - second_before
        )
        direction = (first / correction_1) / (
            ops.sqrt(second / correction_2) + self.epsilon
        )
        new = before - rate * (direction + self.weight_decay * before)
        # A zero gradient is not "no update", so the old bits are chosen.
        return (
            ops.where(taken, new, before),
            ops.where(taken, first, first_before),
            ops.where(taken, second, second_before),
        )
