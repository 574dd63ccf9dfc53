"""Random numbers drawn inside a compiled step, the same on every device.

TensorFlow's uniform floats differ between devices: its kernels make them of
the low bits of a Philox word, and XLA of the high bits. Where the algorithm is
left open, XLA also reads a negative seed differently. The bits are the same.
"""

from collections import abc

import tensorflow as tf

# Philox4x32-10 (Salmon et al. 2011).
_ALGORITHM = "philox"
_MANTISSA = 0x7FFFFF
_ONE = 0x3F800000


def uniform(shape: abc.Sequence[int], seeds: tf.Tensor) -> tf.Tensor:
    """Floats in [0, 1), those of `tf.random.stateless_uniform` on a CPU.

    From seeds `[speakers, 2]` of `random_streams.stateless_seed` to
    `[speakers, *shape]` float32.
    """
    # Without bounds, integers use all of their bits.
    bits = tf.stack(
        [
            tf.random.stateless_uniform(
                shape,
                seed,
                minval=None,  # pyright: ignore[reportArgumentType]
                maxval=None,
                dtype=tf.uint32,
                alg=_ALGORITHM,
            )
            for seed in tf.unstack(seeds)
        ]
    )
    # As the mantissa of a float in [1, 2), minus one.
    mantissa = tf.bitwise.bitwise_and(bits, tf.constant(_MANTISSA, tf.uint32))
    ones = tf.constant(_ONE, tf.uint32)
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, ones), tf.float32) - 1.0


def fold_in(seeds: tf.Tensor, data: int | tf.Tensor) -> tf.Tensor:
    """Seeds `[speakers, 2]` of other streams, separate for each `data`."""
    # TensorFlow's type stubs lack `tf.random.experimental`.
    fold = tf.random.experimental.stateless_fold_in  # pyright: ignore
    return tf.stack(
        [fold(seed, data, _ALGORITHM) for seed in tf.unstack(seeds)]
    )
