import numpy as np
import tensorflow as tf

from lingvo_like.layers import dense


def test_gelu_and_its_gradient_are_exact():
    x = tf.constant(np.linspace(-9, 9, 400), tf.float32)
    results = []
    for function in (dense.gelu, tf.nn.gelu):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        results.append((y, tape.gradient(y, x)))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-6)
