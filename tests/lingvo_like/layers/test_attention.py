import keras
import numpy as np
import tensorflow as tf

from lingvo_like.layers import attention

BATCH, TIME, HEADS, HEAD_DIM = 2, 6, 4, 4


def test_attention_agrees_with_keras():
    query, key, value = (
        np.random.default_rng(i).standard_normal((BATCH, TIME, HEADS, HEAD_DIM))
        for i in range(3)
    )
    mask = np.tril(np.ones((TIME, TIME), bool))
    expected = keras.ops.dot_product_attention(
        query.astype("float32"),
        key.astype("float32"),
        value.astype("float32"),
        mask=mask[None, None],
    )
    ours = attention.attend(
        tf.constant(query.transpose(0, 2, 1, 3), tf.float32),
        tf.constant(key.transpose(0, 2, 3, 1), tf.float32),
        tf.constant(value.transpose(0, 2, 1, 3), tf.float32),
        mask,
    )
    np.testing.assert_allclose(
        np.transpose(ours, (0, 2, 1, 3)), expected, atol=1e-5
    )


def test_heads_split_and_merge_back():
    x = np.random.default_rng(0).standard_normal((BATCH, TIME, 16))
    merged = attention.merge_heads(attention.split_heads(x, HEADS))
    np.testing.assert_array_equal(merged, x)
