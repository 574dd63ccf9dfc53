import numpy as np
import pytest

from lingvo_like.layers import lconv
from tests import layer_checks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 9, 6)).astype("float32")
PADDINGS = np.array([[0] * 9, [0] * 5 + [1] * 4], "float32")


@pytest.mark.parametrize("kernel_size", [3, 4])
def test_keeps_the_layer_contract(kernel_size):
    layer_checks.check(
        lconv.LightConv,
        {"model_dim": 6, "kernel_size": kernel_size, "dropout_rate": 0.1},
        (X, PADDINGS),
        output_shape=(2, 9, 6),
        num_weights=10,
    )


@pytest.mark.parametrize("garbage", [50.0, np.nan])
def test_padded_frames_do_not_reach_valid_ones(garbage):
    layer = lconv.LightConv(6, kernel_size=5)
    expected = layer(X, PADDINGS)
    dirty = X.copy()
    dirty[1, 5:] = garbage
    actual = layer(dirty, PADDINGS)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1, :5], expected[1, :5])


@pytest.mark.parametrize(
    ("kernel_size", "left", "right"), [(5, 2, 2), (4, 1, 2)]
)
def test_a_frame_sees_half_a_kernel_to_either_side(kernel_size, left, right):
    layer = lconv.LightConv(6, kernel_size=kernel_size)
    valid = np.zeros((1, 9), "float32")
    before = layer(X[:1], valid).numpy()
    changed = X[:1].copy()
    changed[0, 4] = RNG.normal(size=6)
    moved = np.abs(layer(changed, valid).numpy() - before).max(-1)[0] > 1e-7
    # Frame 4 reaches those that see it: `right` back and `left` ahead.
    np.testing.assert_array_equal(
        np.flatnonzero(moved), np.arange(4 - right, 4 + left + 1)
    )
