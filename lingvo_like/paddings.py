"""Converts between lengths, paddings and masks; nothing else does.

Paddings follow the speech convention: float, 1 where a frame is padded. Masks
follow Keras's: True where a frame is valid. Masks exist inside attention only.
"""

from typing import TypeAlias

from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor


def from_lengths(lengths: Tensor, max_length: int | Tensor) -> Tensor:
    """Lengths `[batch]` int to paddings `[batch, max_length]` float32."""
    frames = ops.arange(max_length, dtype="int32")
    return ops.cast(
        frames[None, :] >= ops.cast(lengths, "int32")[:, None], "float32"
    )


def to_lengths(paddings: Tensor) -> Tensor:
    """Paddings `[batch, time]` to lengths `[batch]` int32."""
    return ops.cast(ops.sum(1.0 - paddings, axis=-1), "int32")


def to_mask(paddings: Tensor) -> Tensor:
    """Paddings `[batch, time]` to a boolean mask, True where valid."""
    return paddings < 0.5


def zero_padded(x: Tensor, paddings: Tensor) -> Tensor:
    """`x` `[batch, time, ...]` with its padded frames replaced by zeros.

    A `where`, not a product, because zero times NaN is NaN.
    """
    valid = ops.reshape(
        to_mask(paddings), ops.shape(paddings) + (1,) * (len(x.shape) - 2)
    )
    return ops.where(valid, x, ops.zeros_like(x))
