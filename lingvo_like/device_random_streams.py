"""Random numbers drawn inside of a step, the same on every device.

TensorFlow's uniform floats are not: its kernels make them of the low bits of
a Philox word and XLA of the high ones, and where the algorithm is left open
XLA reads a negative seed otherwise. The bits themselves are the same.
"""

import tensorflow as tf

# Philox4x32-10 (Salmon et al. 2011).
_ALGORITHM = "philox"
_MANTISSA = 0x7FFFFF
_ONE = 0x3F800000


def uniform(shape, seeds):
    """Floats in [0, 1), what `tf.random.stateless_uniform` draws on a CPU.

    Args:
        shape: list of int, of what each seed draws.
        seeds: `[speakers, 2]` int32, as `streams.stateless_seed` gives.

    Returns:
        float32 `[speakers, *shape]`.
    """
    bits = tf.stack(
        [
            tf.random.stateless_uniform(
                shape,
                seed,
                minval=None,
                maxval=None,
                dtype=tf.uint32,
                alg=_ALGORITHM,
            )
            for seed in tf.unstack(seeds)
        ]
    )
    # A float of [1, 2) whose mantissa they are, less one.
    mantissa = tf.bitwise.bitwise_and(bits, tf.constant(_MANTISSA, tf.uint32))
    ones = tf.constant(_ONE, tf.uint32)
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, ones), tf.float32) - 1.0


def fold_in(seeds, data):
    """Other seeds `[speakers, 2]`, of streams of their own for each `data`."""
    return tf.stack(
        [
            tf.random.experimental.stateless_fold_in(seed, data, _ALGORITHM)
            for seed in tf.unstack(seeds)
        ]
    )
