import numpy as np
import pytest

from lingvo_like.layers import speaker_encoder
from tests import layer_checks


def normal(*shape, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape).astype("float32")


def encoder(**kwargs):
    values = {"model_dim": 6, "embedding_dim": 4, "inner_dim": 5} | kwargs
    layer = speaker_encoder.SpeakerEncoder(**values)
    for i, weight in enumerate(layer.weights):
        weight.assign(0.5 * normal(*weight.shape, seed=i + 1))
    return layer


def test_keeps_the_layer_contract():
    paddings = np.zeros((2, 3, 7), "float32")
    paddings[1, :, 4:] = 1.0
    layer_checks.check(
        speaker_encoder.SpeakerEncoder,
        {"model_dim": 6, "embedding_dim": 4, "inner_dim": 5},
        (normal(2, 3, 7, 6), paddings, np.ones((2, 3), "float32")),
        output_shape=(2, 4),
        num_weights=6,
        output_dtype="float32",
        float32_sublayers=("expand", "project"),
    )


def test_padded_frames_and_filling_utterances_never_change_the_embedding():
    layer = encoder()
    x, paddings = normal(2, 2, 5, 6), np.zeros((2, 2, 5), "float32")
    expected = layer(x, paddings).numpy()
    longer = np.full((2, 3, 9, 6), np.nan, "float32")
    longer[:, :2, :5] = x
    padded = np.ones((2, 3, 9), "float32")
    padded[:, :2, :5] = 0.0
    weights = np.array([[1, 1, 0], [1, 1, 0]], "float32")
    np.testing.assert_allclose(
        layer(longer, padded, weights).numpy(), expected, atol=1e-5
    )


def test_padding_leaves_gradients_finite():
    import tensorflow as tf

    layer = encoder()
    x = np.full((1, 2, 4, 6), np.nan, "float32")
    x[0, 0, :2] = normal(2, 6)
    paddings = np.ones((1, 2, 4), "float32")
    paddings[0, 0, :2] = 0.0
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(
            layer(x, paddings, np.array([[1, 0]], "float32")) ** 2
        )
    for gradient in tape.gradient(total, layer.trainable_variables):
        assert np.isfinite(gradient.numpy()).all()


def test_a_speaker_does_not_depend_on_the_others_of_the_batch():
    layer = encoder()
    x, paddings = normal(3, 2, 5, 6), np.zeros((3, 2, 5), "float32")
    together = layer(x, paddings).numpy()
    for i in range(3):
        alone = layer(x[i : i + 1], paddings[i : i + 1]).numpy()[0]
        np.testing.assert_allclose(together[i], alone, atol=1e-6)


def test_statistics_of_utterances_taken_apart_give_the_same_embedding():
    layer = encoder()
    x, paddings = normal(1, 3, 5, 6), np.zeros((1, 3, 5), "float32")
    parts = [
        layer.statistics(x[0, i : i + 1], paddings[0, i : i + 1])
        for i in range(3)
    ]
    apart = layer.predict(np.mean(parts, axis=0)).numpy()
    np.testing.assert_allclose(
        apart, layer(x, paddings).numpy(), atol=1e-5, rtol=1e-5
    )


def test_adapting_makes_small_differences_beside_large_channels_matter():
    layer = speaker_encoder.SpeakerEncoder(6, 4)
    statistics = normal(50, 12)
    statistics[:, 0] = 1000.0 + 0.01 * statistics[:, 0]
    layer.adapt(statistics)
    scaled = (statistics - layer.offset.numpy()) * layer.scale.numpy()
    assert np.abs(scaled.mean(axis=0)).max() < 0.1
    assert scaled.std(axis=0).max() < 1.1
    assert np.abs(scaled).max() < 10.0


def test_adapting_to_one_speaker_keeps_the_scale():
    layer = speaker_encoder.SpeakerEncoder(6, 4)
    layer.adapt(normal(1, 12))
    np.testing.assert_array_equal(layer.scale.numpy(), np.ones(12))


@pytest.mark.parametrize(
    "statistics, message",
    [
        (np.zeros((3, 6)), r"\[n, 12\]. Received: \[3, 6\]"),
        (np.zeros((0, 12)), r"Received: \[0, 12\]"),
        (np.full((2, 12), np.nan), "must be finite"),
    ],
)
def test_adapting_refuses_what_it_cannot_use(statistics, message):
    with pytest.raises(ValueError, match=message):
        speaker_encoder.SpeakerEncoder(6, 4).adapt(statistics)


@pytest.mark.parametrize("name", ["model_dim", "embedding_dim", "inner_dim"])
def test_refuses_a_width_that_is_none(name):
    values = {"model_dim": 6, "embedding_dim": 4, "inner_dim": 5, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        speaker_encoder.SpeakerEncoder(**values)
