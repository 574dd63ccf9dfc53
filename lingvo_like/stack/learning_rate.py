"""The learning-rate schedule of a slot: warmup, then decay to zero."""

import math

from keras import ops

from lingvo_like import choices, tensor_types


def at(
    steps: tensor_types.Tensor,
    num_steps: int,
    peak: float,
    warmup_steps: int = 0,
    decay: str = "cosine",
) -> tensor_types.Tensor:
    """The learning rate `[speakers]` float32 of each slot's own update.

    Args:
        steps: `[speakers]`, the slot's update count; the first update is 1.
        num_steps: updates until the rate reaches zero.
        peak: the rate after the warmup.
        warmup_steps: updates of linear increase.
        decay: one of `choices.DECAYS`.
    """
    steps = ops.cast(steps, "float32")
    warmup = ops.minimum(1.0, steps / max(1, warmup_steps))
    span = max(1, num_steps - warmup_steps)
    # The rate reaches zero one step after the last update.
    progress = ops.clip((steps - 1.0 - warmup_steps) / span, 0.0, 1.0)
    if decay == "linear":
        rest = ops.subtract(1.0, progress)
    elif decay == "cosine":
        rest = (ops.cos(progress * math.pi) + 1.0) * 0.5
    else:
        rest = ops.ones_like(progress)
    return warmup * peak * rest


def check_decay(decay: str) -> None:
    """Raises a ValueError unless `decay` is one of `choices.DECAYS`."""
    if decay not in choices.DECAYS:
        raise ValueError(
            f"`decay` must be one of {', '.join(choices.DECAYS)}. "
            f"Received: {decay!r}."
        )
