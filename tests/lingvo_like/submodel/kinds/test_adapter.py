"""The adapter kind: shapes, starting values and algebra."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import adapter

DIM, BOTTLENECK = 6, 3
SITE = sites.activation("encoder/block_00/output", DIM)


def random_weights(speakers, seed=0):
    kind = adapter.Adapter(BOTTLENECK)
    draw = np.random.default_rng(seed)
    return {
        name: (0.5 * draw.standard_normal((speakers, *shape))).astype("float32")
        for name, shape in kind.weight_shapes(SITE).items()
    }


def activations(speakers, rows, seed=1):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((speakers, rows, DIM)).astype("float32")


def apply(x, weights, dropout=None, **values):
    kind = adapter.Adapter(BOTTLENECK, **values)
    weights = {name: tf.constant(value) for name, value in weights.items()}
    return np.asarray(kind.apply(x, x, kind.prepare(weights, {}), dropout))


def reference(x, weights, residual_weight=1.0):
    """The equation for one speaker, in float64."""
    w = {name: value.astype("float64") for name, value in weights.items()}
    x = x.astype("float64")
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5
    )
    normed = normed * (1 + w["norm_scale"]) + w["norm_bias"]
    branch = np.maximum(normed @ w["down_kernel"] + w["down_bias"], 0)
    return x + residual_weight * (branch @ w["up_kernel"] + w["up_bias"])


def test_equals_its_equation_for_each_speaker():
    weights, x = random_weights(3), activations(3, 8)
    y = apply(x, weights, residual_weight=0.7)
    for speaker in range(3):
        own = {name: value[speaker] for name, value in weights.items()}
        expected = reference(x[speaker], own, 0.7)
        np.testing.assert_allclose(y[speaker], expected, atol=1e-5)


def test_a_large_mean_does_not_spoil_the_norm():
    weights, x = random_weights(1), activations(1, 5) + 300.0
    own = {name: value[0] for name, value in weights.items()}
    np.testing.assert_allclose(
        apply(x, weights)[0], reference(x[0], own), atol=2e-3
    )


def test_zero_up_projection_is_the_identity_whatever_is_below():
    weights, x = random_weights(2), activations(2, 7)
    for name in ("up_kernel", "up_bias"):
        weights[name] = np.zeros_like(weights[name])
    np.testing.assert_array_equal(apply(x, weights), x)


def test_only_the_down_projection_is_drawn():
    drawn = set(adapter.Adapter(BOTTLENECK).initial_deviations(SITE))
    assert drawn == {"down_kernel"}
    assert drawn <= set(random_weights(1))


def test_dropout_multiplies_the_bottleneck():
    weights, x = random_weights(1), activations(1, 5)

    def drop(branch):
        assert branch.shape == (1, 5, BOTTLENECK)
        return 0.0 * branch

    dropped = apply(x, weights, drop)
    expected = x + weights["up_bias"][:, None]
    np.testing.assert_allclose(dropped, expected, atol=1e-6)


def test_computes_in_the_type_of_its_weights():
    weights, x = random_weights(2), activations(2, 3)
    kind = adapter.Adapter(BOTTLENECK)
    for x_type, weight_type in (
        (tf.bfloat16, tf.float32),
        (tf.float32, tf.bfloat16),
    ):
        cast = {k: tf.cast(value, weight_type) for k, value in weights.items()}
        y = tf.cast(x, x_type)
        y = kind.apply(y, y, kind.prepare(cast, {}))
        assert y.dtype == weight_type
        np.testing.assert_allclose(
            tf.cast(y, tf.float32), apply(x, weights), atol=0.1
        )


def test_widths_must_be_positive():
    with pytest.raises(ValueError, match="`bottleneck_dim` must be positive"):
        adapter.Adapter(bottleneck_dim=0)
    with pytest.raises(ValueError, match="`output_dim` of at least 1"):
        sites.activation("encoder/block_00/output", 0)
