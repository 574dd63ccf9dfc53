"""What a step draws is the same on every device, and as it always was."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import device_streams, streams

SEEDS = (
    (123456, 789),
    (-5, 2**31 - 1),
    (0, 0),
    tuple(streams.stateless_seed("dropout", 0, "ann", 3)),
)
every_seed = pytest.mark.parametrize("seed", SEEDS)


@every_seed
def test_a_program_of_xla_draws_the_same(seed):
    def draw(seed):
        folded = device_streams.fold_in(seed, 1)
        return (
            device_streams.uniform([3, 5], seed),
            folded,
            device_streams.uniform([7], folded),
        )

    seed = tf.constant(seed, tf.int32)
    for plain, compiled in zip(
        tf.function(draw)(seed),
        tf.function(draw, jit_compile=True)(seed),
        strict=True,
    ):
        np.testing.assert_array_equal(plain, compiled)


@every_seed
def test_the_draws_are_those_of_tensorflows_cpu_kernels(seed):
    """What changes these changes every Submodel that is trained again."""
    np.testing.assert_array_equal(
        device_streams.uniform([3, 5], seed),
        tf.random.stateless_uniform([3, 5], seed),
    )
    np.testing.assert_array_equal(
        device_streams.fold_in(seed, 1),
        tf.random.experimental.stateless_fold_in(seed, 1),
    )


def test_draws_are_even_and_below_one():
    draws = device_streams.uniform([20000], [1, 2]).numpy()
    assert 0 <= draws.min() and draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.01)
