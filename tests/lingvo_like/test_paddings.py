"""The converters between lengths, paddings and masks."""

import numpy as np
from keras import ops

from lingvo_like import paddings


def test_lengths_and_back():
    lengths = np.array([0, 1, 3, 4])
    padded = paddings.from_lengths(lengths, 4)
    np.testing.assert_array_equal(
        padded,
        [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
    )
    assert padded.dtype == "float32"
    back = ops.convert_to_numpy(paddings.to_lengths(padded))
    np.testing.assert_array_equal(back, lengths)
    assert back.dtype == np.int32


def test_a_length_beyond_the_end_pads_nothing():
    padded = paddings.from_lengths(np.array([9], np.int64), 4)
    np.testing.assert_array_equal(padded, [[0, 0, 0, 0]])


def test_masks_are_true_where_frames_are_valid():
    mask = paddings.to_mask(paddings.from_lengths(np.array([2]), 3))
    np.testing.assert_array_equal(mask, [[True, True, False]])


def test_garbage_in_padded_frames_becomes_zero():
    x = np.arange(1.0, 13.0, dtype="float32").reshape(2, 3, 2)
    spoiled = x.copy()
    spoiled[0, 2] = np.nan
    spoiled[1, 1:] = np.inf, -np.inf
    padded = paddings.from_lengths(np.array([2, 1]), 3)
    expected = x.copy()
    expected[0, 2] = expected[1, 1:] = 0.0
    np.testing.assert_array_equal(
        paddings.zero_padded(spoiled, padded), expected
    )


def test_zero_padded_takes_any_rank_and_keeps_the_type():
    padded = paddings.from_lengths(np.array([1]), 2)
    for shape in ((1, 2), (1, 2, 3), (1, 2, 3, 4)):
        x = ops.ones(shape, "float16")
        result = paddings.zero_padded(x, padded)
        assert tuple(result.shape) == shape
        assert result.dtype == x.dtype
        assert float(ops.sum(result)) == np.prod(shape) / 2
