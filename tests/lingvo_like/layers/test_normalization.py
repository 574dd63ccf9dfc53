import keras
import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.layers import normalization


def inputs(seed=0, shape=(3, 5, 7)):
    generator = np.random.default_rng(seed)
    return [
        tf.constant(generator.standard_normal(part).astype("float32"))
        for part in (shape, shape[-1:], shape[-1:])
    ]


def plain(x, gamma, beta):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5) * gamma + beta


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_values_and_gradients_are_those_of_the_plain_formula(offset):
    x, gamma, beta = inputs()
    x = x + offset
    upstream = inputs(1)[0]
    results = []
    for function in (normalization.layer_norm, plain):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            y = function(x, gamma, beta)
        gradients = tape.gradient(y, [x, gamma, beta], upstream)
        results.append([y, *gradients])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_layer_agrees_with_keras():
    x, gamma, beta = inputs()
    ours = normalization.LayerNorm(epsilon=1e-5)
    theirs = keras.layers.LayerNormalization(epsilon=1e-5)
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


def test_frozen_layer_still_passes_gradients_down():
    x = inputs()[0]
    layer = normalization.LayerNorm()
    layer.trainable = False
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x) ** 3)
    assert np.abs(tape.gradient(y, x)).max() > 0
    assert not layer.trainable_variables


def test_bfloat16_is_normalised_in_float32():
    x, gamma, beta = inputs(shape=(2, 4, 256))
    rounded = tf.cast(x + 30.0, tf.bfloat16)
    y = normalization.layer_norm(rounded, gamma, beta)
    assert y.dtype == tf.bfloat16
    expected = plain(tf.cast(rounded, tf.float32), gamma, beta)
    np.testing.assert_allclose(
        tf.cast(y, tf.float32), expected, rtol=1e-2, atol=1e-2
    )


def test_configuration_round_trips():
    layer = normalization.LayerNorm(epsilon=1e-3, name="some_norm")
    again = normalization.LayerNorm.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
