"""StackedAdapter: per-slot algebra, selection, and what it must not do."""

import keras
import numpy as np
import pytest

from lingvo_like.layers import adapter
from tests import layer_checks

SLOTS, DIM, BOTTLENECK = 5, 6, 3


def random_layer(seed=0, **kwargs):
    layer = adapter.StackedAdapter(SLOTS, DIM, BOTTLENECK, **kwargs)
    draw = np.random.default_rng(seed)
    for tensor in layer.stack:
        tensor.assign(draw.standard_normal(tensor.shape) * 0.5)
    return layer


def activations(speakers, *shape, seed=1):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((speakers, *shape, DIM)).astype("float32")


def reference(layer, x, slot):
    """The layer's equation, one speaker, in float64."""
    w = [np.asarray(t, "float64")[slot] for t in layer.stack]
    scale, bias, down, down_bias, up, up_bias = w
    x = x.astype("float64")
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + layer.epsilon
    )
    normed = normed * (1 + scale) + bias
    branch = np.maximum(normed @ down + down_bias, 0) @ up + up_bias
    return x + layer.residual_weight * branch


def test_equals_its_equation_for_each_speaker():
    layer = random_layer(residual_weight=0.7)
    x = activations(3, 4, 2)
    y = np.asarray(layer(x, layer.select(np.array([4, 0, 4]))))
    for row, slot in enumerate([4, 0, 4]):
        np.testing.assert_allclose(
            y[row], reference(layer, x[row], slot), atol=1e-5
        )


def test_new_stack_is_the_identity_bit_for_bit():
    layer = adapter.StackedAdapter(SLOTS, DIM, BOTTLENECK)
    x = activations(2, 7)
    y = layer(x, layer.select(np.array([0, 3])))
    np.testing.assert_array_equal(np.asarray(y), x)


def test_zero_up_projection_is_the_identity_whatever_is_below():
    layer = random_layer()
    layer.stack.up_kernel.assign(np.zeros(layer.stack.up_kernel.shape))
    layer.stack.up_bias.assign(np.zeros(layer.stack.up_bias.shape))
    x = activations(2, 7)
    y = layer(x, layer.select(np.array([1, 2])))
    np.testing.assert_array_equal(np.asarray(y), x)


def test_one_hot_embedding_selects_what_the_id_selects():
    layer = random_layer()
    x = activations(2, 3)
    by_id = layer(x, layer.select(np.array([2, 4])))
    one_hot = np.eye(SLOTS, dtype="float32")[[2, 4]]
    by_embedding = layer(x, layer.select(one_hot))
    np.testing.assert_allclose(by_id, by_embedding, atol=1e-6)


def test_embedding_mixes_the_weights_and_not_the_outputs():
    layer = random_layer()
    mix = np.array([[0.5, 0.5, 0, 0, 0]], "float32")
    mixed = layer.select(mix)
    for tensor, stacked in zip(mixed, layer.stack, strict=True):
        stacked = np.asarray(stacked)
        np.testing.assert_allclose(
            np.asarray(tensor)[0], (stacked[0] + stacked[1]) / 2, atol=1e-6
        )


def test_row_is_the_same_whoever_its_neighbours_are():
    layer = random_layer()
    x = activations(4, 9)
    together = np.asarray(layer(x, layer.select(np.array([0, 1, 2, 3]))))
    for row in range(4):
        alone = layer(x[row : row + 1], layer.select(np.array([row])))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("slots", [[SLOTS], [-1], [0, 99]])
def test_unknown_slot_is_an_error_and_not_a_clipped_index(slots):
    with pytest.raises(ValueError, match=r"slot ids must be in \[0, 5\)"):
        random_layer().select(np.array(slots))


def test_embedding_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"\[speakers, 5\]"):
        random_layer().select(np.zeros((2, 4), "float32"))


@pytest.mark.parametrize("name", ["num_slots", "model_dim", "bottleneck_dim"])
def test_arguments_must_be_positive(name):
    kwargs = {"num_slots": 1, "model_dim": 2, "bottleneck_dim": 3, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        adapter.StackedAdapter(**kwargs)


def test_dropout_mask_multiplies_the_bottleneck():
    layer = random_layer()
    x = activations(1, 5)
    weights = layer.select(np.array([2]))
    dropped = layer(x, weights, np.zeros((1, 5, BOTTLENECK), "float32"))
    expected = x + np.asarray(layer.stack.up_bias)[2]
    np.testing.assert_allclose(np.asarray(dropped), expected, atol=1e-6)


def test_a_large_mean_does_not_spoil_the_norm():
    layer = random_layer()
    x = activations(1, 5) + 300.0
    y = np.asarray(layer(x, layer.select(np.array([1]))))
    np.testing.assert_allclose(y[0], reference(layer, x[0], 1), atol=2e-3)


def test_is_a_keras_layer_that_keeps_its_promises():
    weights = adapter.AdapterWeights(
        *(
            np.full((2, *shape), 0.1, "float32")
            for shape in adapter.weight_shapes(DIM, BOTTLENECK)
        )
    )
    layer = adapter.StackedAdapter(SLOTS, DIM, BOTTLENECK, name="adapter")
    assert len(layer.weights) == 6
    again = adapter.StackedAdapter.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer_checks.weight_names(again) == layer_checks.weight_names(layer)
    half = adapter.StackedAdapter(
        SLOTS, DIM, BOTTLENECK, dtype="mixed_bfloat16"
    )
    x = keras.ops.cast(activations(2, 3), "bfloat16")
    assert keras.backend.standardize_dtype(half(x, weights).dtype) == "bfloat16"
