"""The stack of a job: slots, starting points, rows in and out."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.stack import stack
from tests import layouts

LAYOUT = layouts.adapters(model_dim=6, bottleneck_dim=3, blocks=(0, 2))


def test_start_is_a_function_of_the_speaker_and_not_of_the_slot():
    together = stack.Stack(["ann", "bob", "cy"], LAYOUT)
    alone = stack.Stack(["cy"], LAYOUT)
    together.initialize(seed=3)
    alone.initialize(seed=3)
    for name, tensor in alone.read(0).items():
        np.testing.assert_array_equal(tensor, together.read(2)[name])
    other = stack.Stack(["cy"], LAYOUT)
    other.initialize(seed=4)
    name = layouts.tensor_name(0, "down_kernel")
    assert np.any(other.read(0)[name] != alone.read(0)[name])
    assert np.any(together.read(0)[name] != together.read(1)[name])


def test_new_submodels_are_the_base_bit_for_bit():
    fresh = stack.Stack(["ann", "bob"], LAYOUT)
    fresh.initialize(seed=0)
    functions = fresh.site_functions(fresh.select(tf.constant([0, 1])))
    x = np.random.default_rng(0).standard_normal((4, 5, 6)).astype("float32")
    assert tuple(functions.names) == LAYOUT.site_names
    for name in functions.names:
        y = functions.apply(name, tf.constant(x), tf.constant(x))
        np.testing.assert_array_equal(y.numpy(), x)


def test_utterances_of_a_speaker_use_that_speakers_weights():
    two = stack.Stack(["ann", "bob"], LAYOUT)
    row = two.read(1)
    row[layouts.tensor_name(0, "up_bias")] = np.full([6], 2.0, np.float32)
    two.write(1, row)
    functions = two.site_functions(two.select(tf.constant([1, 0])))
    x = tf.zeros([6, 4, 6])
    y = functions.apply("encoder/block_00/output", x, x).numpy()
    assert np.all(y[:3] == 2.0)
    assert np.all(y[3:] == 0.0)


def test_unknown_speaker_is_an_error():
    with pytest.raises(ValueError, match="'dan' has no slot"):
        stack.Stack(["ann"], LAYOUT).slot("dan")


def test_a_speaker_cannot_have_two_slots():
    with pytest.raises(ValueError, match="twice"):
        stack.Stack(["ann", "ann"], LAYOUT)


def test_rows_written_are_rows_read_and_others_stay():
    three = stack.Stack(["a", "b", "c"], LAYOUT)
    three.initialize(seed=0)
    before = three.read(1)
    row = {name: value + 1.0 for name, value in three.read(2).items()}
    three.write(2, row)
    gathered = three.select(tf.constant([2, 0]))
    for name, value in row.items():
        np.testing.assert_array_equal(gathered[name][0].numpy(), value)
    for name, value in three.read(1).items():
        np.testing.assert_array_equal(value, before[name])


def test_row_cannot_be_set_in_a_slot_that_is_not_there():
    with pytest.raises(ValueError, match=r"slots must be in \[0, 1\)"):
        one = stack.Stack(["a"], LAYOUT)
        one.write(1, one.read(0))
