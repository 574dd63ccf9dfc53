"""A step draws the same numbers on every device, and always has."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import device_random_streams, random_streams

SEEDS = (
    (123456, 789),
    (-5, 2**31 - 1),
    (0, 0),
    tuple(random_streams.stateless_seed("dropout", 0, "ann", 3)),
)


def test_a_program_of_xla_draws_the_same():
    def draw(seeds):
        folded = device_random_streams.fold_in(seeds, 1)
        return (
            device_random_streams.uniform([3, 5], seeds),
            folded,
            device_random_streams.uniform([7], folded),
        )

    seeds = tf.constant(SEEDS, tf.int32)
    for plain, compiled in zip(
        tf.function(draw)(seeds),
        tf.function(draw, jit_compile=True)(seeds),
        strict=True,
    ):
        np.testing.assert_array_equal(plain, compiled)


def test_the_draws_are_those_of_tensorflows_cpu_kernels():
    """A change of these changes every Submodel that is trained again."""
    draws = device_random_streams.uniform([3, 5], SEEDS)
    folded = device_random_streams.fold_in(SEEDS, 1)
    for row, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(
            draws[row], tf.random.stateless_uniform([3, 5], seed)
        )
        np.testing.assert_array_equal(
            folded[row], tf.random.experimental.stateless_fold_in(seed, 1)
        )


def test_draws_are_even_and_below_one():
    draws = device_random_streams.uniform([20000], [[1, 2]]).numpy()
    assert 0 <= draws.min() and draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.01)
