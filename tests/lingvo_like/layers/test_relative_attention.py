import numpy as np
import pytest

from lingvo_like.layers import relative_attention
from tests import layer_checks

RNG = np.random.default_rng(0)
PADDINGS = np.array([[0] * 7, [0] * 4 + [1] * 3], "float32")


def activations(batch=2, time=7, model_dim=8):
    return RNG.normal(size=(batch, time, model_dim)).astype("float32")


def with_random_weights(layer, *inputs):
    layer(*inputs)
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape, scale=0.3))
    return layer


def test_keeps_the_layer_contract():
    layer_checks.check(
        relative_attention.RelativeAttention,
        {"model_dim": 8, "num_heads": 2, "dropout_rate": 0.1},
        (activations(), PADDINGS),
        output_shape=(2, 7, 8),
        num_weights=9,
    )


def test_the_shift_puts_each_distance_at_its_key():
    time = 5
    distances = np.arange(time - 1, -time, -1, dtype="float32")
    logits = np.tile(distances, (2, 3, time, 1))
    shifted = relative_attention.relative_shift(logits)
    expected = np.arange(time)[:, None] - np.arange(time)[None, :]
    np.testing.assert_array_equal(
        shifted, np.broadcast_to(expected, (2, 3, time, time))
    )


def test_agrees_with_the_formula_written_out():
    x = activations(batch=1, time=5)
    paddings = np.array([[0, 0, 0, 0, 1]], "float32")
    layer = relative_attention.RelativeAttention(8, 2)
    with_random_weights(layer, x, paddings)
    w = {v.path.split("/", 1)[-1]: v.numpy() for v in layer.weights}
    mean, variance = x[0].mean(-1, keepdims=True), x[0].var(-1, keepdims=True)
    y = (x[0] - mean) / np.sqrt(variance + 1e-5)
    y = y * w["norm/gamma"] + w["norm/beta"]
    y = y @ w["query_key_value/kernel"] + w["query_key_value/bias"]
    query, key, value = (
        part.reshape(5, 2, 4) for part in np.split(y, 3, axis=-1)
    )
    rates = 10000.0 ** (-np.arange(0, 8, 2) / 8)
    heads = np.zeros((5, 2, 4))
    for head in range(2):
        u, v = w["content_bias"][head], w["position_bias"][head]
        for i in range(5):
            logits = []
            for j in range(4):
                angles = (i - j) * rates
                position = np.concatenate([np.sin(angles), np.cos(angles)])
                position = position @ w["position/kernel"]
                position = position.reshape(2, 4)[head]
                logits.append(
                    (query[i, head] + u) @ key[j, head]
                    + (query[i, head] + v) @ position
                )
            weights = np.exp(np.array(logits) / 2.0)
            weights /= weights.sum()
            heads[i, head] = weights @ value[:4, head]
    expected = heads.reshape(5, 8) @ w["output_projection/kernel"]
    expected += w["output_projection/bias"]
    np.testing.assert_allclose(layer(x, paddings)[0], expected, atol=1e-5)


def test_padded_frames_are_not_attended_to():
    x = activations()
    layer = relative_attention.RelativeAttention(8, 2)
    expected = with_random_weights(layer, x, PADDINGS)(x, PADDINGS)
    x[1, 4:] = 100.0
    actual = layer(x, PADDINGS)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1, :4], expected[1, :4])


def test_a_row_that_is_padded_throughout_is_finite():
    layer = relative_attention.RelativeAttention(8, 2)
    assert np.isfinite(layer(activations(), np.ones((2, 7), "float32"))).all()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="model_dim=8, num_heads=3"):
        relative_attention.RelativeAttention(8, 3)
