import numpy as np

from lingvo_like.layers import spec_augment

FEATURES = np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")


def bounds(*rows):
    return np.array(rows, "int32")


def test_masks_bands_of_each_utterance():
    result = spec_augment.apply(
        FEATURES,
        freq_starts=bounds([1], [3]),
        freq_widths=bounds([2], [1]),
        time_starts=bounds([0, 4], [5, 0]),
        time_widths=bounds([1, 2], [9, 0]),
    )
    expected = FEATURES.copy()
    expected[0, :, 1:3] = 0
    expected[0, 0] = 0
    expected[0, 4:6] = 0
    expected[1, :, 3] = 0
    expected[1, 5:] = 0
    np.testing.assert_array_equal(result, expected)


def test_no_masks_and_zero_widths_change_nothing():
    none = np.zeros((2, 0), "int32")
    result = spec_augment.apply(FEATURES, none, none, none, none)
    np.testing.assert_array_equal(result, FEATURES)
    zero = bounds([2], [2])
    result = spec_augment.apply(FEATURES, zero, zero * 0, zero, zero * 0)
    np.testing.assert_array_equal(result, FEATURES)
