"""The only converters between lengths, paddings and masks.

Paddings follow the speech convention: float, 1 where a frame is padded. Masks
follow Keras's: True where a frame is valid; they live inside attention only.
"""

from keras import ops


def from_lengths(lengths, max_length):
    """Lengths `[batch]` int to paddings `[batch, max_length]` float32."""
    frames = ops.arange(max_length, dtype="int32")
    return ops.cast(
        frames[None, :] >= ops.cast(lengths, "int32")[:, None], "float32"
    )


def to_lengths(paddings):
    """Paddings `[batch, time]` to lengths `[batch]` int32."""
    return ops.cast(ops.sum(1.0 - paddings, axis=-1), "int32")


def to_mask(paddings):
    """Paddings `[batch, time]` to a boolean mask, True where valid."""
    return paddings < 0.5


def zero_padded(x, paddings):
    """`x` `[batch, time, ...]` with its padded frames replaced by zeros.

    A `where`, not a product: zero times the NaN of a padded frame is NaN.
    """
    valid = ops.reshape(
        to_mask(paddings), ops.shape(paddings) + (1,) * (len(x.shape) - 2)
    )
    return ops.where(valid, x, ops.zeros_like(x))
