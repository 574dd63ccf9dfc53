import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.layers import attention, layer, transformer, unprojected

BATCH, TIME, DIM, HEADS, INNER = 2, 6, 16, 4, 24


def activations(seed=0, time=TIME):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((BATCH, time, DIM)).astype("float32")


def built(kind, **kwargs):
    block = kind(DIM, HEADS, INNER, **kwargs)
    block.build((None, None, DIM))
    generator = np.random.default_rng(1)
    named = layer.named_weights(block, block.sublayers)
    for _, weight in sorted(named.items()):
        value = 0.3 * generator.standard_normal(weight.shape)
        weight.assign(value + (weight.name == "gamma"))
    return block


def test_decoder_sees_no_later_token():
    block = built(transformer.DecoderBlock)
    source = block.source(tf.constant(activations(5, time=9)))
    mask = attention.causal_mask(TIME)
    x = activations()
    before, _ = block(tf.constant(x), source, mask)
    x[:, 4:] += 1.0
    after, _ = block(tf.constant(x), source, mask)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(np.asarray(before) - np.asarray(after))[:, 4:].max() > 0.1


def test_cached_steps_equal_the_whole_sequence():
    block = built(transformer.DecoderBlock)
    source = block.source(tf.constant(activations(5, time=9)))
    x = tf.constant(activations())
    whole, (key, value) = block(x, source, attention.causal_mask(TIME))
    # Garbage in places still to come must not be attended to.
    cache = (tf.ones_like(key) * 7, tf.ones_like(value) * 7)
    for position in range(TIME):
        y, cache = block(
            x[:, position : position + 1],
            source,
            tf.range(TIME) <= position,
            cache,
            position=position,
        )
        np.testing.assert_allclose(y[:, 0], whole[:, position], atol=1e-5)
    np.testing.assert_allclose(cache[0], key, atol=1e-6)


def test_beams_share_their_utterances_source():
    block = built(transformer.DecoderBlock)
    encoded = tf.constant(activations(5, time=9))
    x = tf.constant(np.repeat(activations(), 3, axis=0))
    mask = attention.causal_mask(TIME)
    shared, _ = block(x, block.source(encoded), mask)
    copied, _ = block(x, block.source(tf.repeat(encoded, 3, axis=0)), mask)
    np.testing.assert_allclose(shared, copied, atol=1e-6)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("time", [2, TIME])
def test_a_source_without_keys_and_values_gives_the_same(time, beams):
    block = built(transformer.DecoderBlock)
    encoded = tf.constant(activations(5, time=9))
    x = tf.constant(np.repeat(activations(time=time), beams, axis=0))
    mask = attention.causal_mask(time)
    projected, _ = block(x, block.source(encoded), mask)
    source = block.unprojected_source(*unprojected.shared(encoded))
    plain, _ = block(x, source, mask)
    np.testing.assert_allclose(plain, projected, atol=1e-5)
    other = tf.constant(activations(6, time=9))
    source = block.unprojected_source(*unprojected.shared(other))
    assert np.abs(block(x, source, mask)[0] - plain).max() > 0.1


@pytest.mark.parametrize(
    "kind", [transformer.EncoderBlock, transformer.DecoderBlock]
)
def test_configuration_and_names_round_trip(kind):
    block = built(kind, name="some_block")
    again = kind.from_config(block.get_config())
    again.build((None, None, DIM))
    ours = layer.named_weights(block, block.sublayers)
    theirs = layer.named_weights(again, again.sublayers)
    assert list(ours) == list(theirs)
    assert len(ours) == len(block.weights)
    assert [w.shape for w in ours.values()] == [
        w.shape for w in theirs.values()
    ]


def test_frozen_block_has_nothing_to_train_and_passes_gradients_down():
    block = built(transformer.EncoderBlock)
    block.trainable = False
    x = tf.constant(activations())
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(block(x) ** 2)
    assert not block.trainable_variables
    assert np.abs(tape.gradient(y, x)).max() > 0


def test_mixed_precision_computes_in_bfloat16_near_float32():
    exact = built(transformer.EncoderBlock)
    mixed = built(transformer.EncoderBlock, dtype="mixed_bfloat16")
    x = tf.constant(activations())
    y = mixed(x)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(y, tf.float32), exact(x), rtol=0.05, atol=0.15
    )


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match="model_dim=10, num_heads=4"):
        transformer.EncoderBlock(10, 4, 8)
