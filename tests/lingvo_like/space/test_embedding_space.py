"""A space of embeddings: mixing, its gradients, where speakers start."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import choices
from lingvo_like.space import (
    embedding_space,
    embeddings,
    encoder as space_encoder,
)
from lingvo_like.stack import stack, trainable
from lingvo_like.submodel import selection
from tests import layouts

LAYOUT = layouts.adapters(model_dim=6, bottleneck_dim=3, blocks=(0, 2))
SPEAKERS = ("ann", "bob", "cy")


def make(speakers=SPEAKERS, random_basis=True, **values):
    space = embedding_space.EmbeddingSpace(speakers, LAYOUT, 4, **values)
    space.initialize(seed=3)
    if random_basis:
        draw = np.random.default_rng(0)
        space.set_basis(
            {
                name: draw.standard_normal((4, *shape)).astype("float32")
                for name, shape in LAYOUT.shapes.items()
            }
        )
    return space


def activations(speakers=2):
    draw = np.random.default_rng(1)
    return draw.standard_normal((2 * speakers, 5, 6)).astype("float32")


def test_a_submodel_is_the_sum_of_elements_by_the_embedding():
    space = make()
    embedding = space.embeddings.numpy()[1].astype("float64")
    for name, tensor in space.read(1).items():
        basis = space.basis.variables_by_name[name].numpy()
        expected = np.einsum("e,e...->...", embedding, basis)
        np.testing.assert_allclose(tensor, expected, atol=1e-5)


def test_the_zero_embedding_is_the_base_bit_for_bit():
    space = make()
    space.set_embeddings(np.zeros([3, 4]))
    x = activations()
    functions = space.site_functions(space.select([0, 2]))
    assert tuple(functions.names) == LAYOUT.site_names
    for name in functions.names:
        y = functions.apply(name, tf.constant(x), tf.constant(x))
        np.testing.assert_array_equal(y.numpy(), x)


@pytest.mark.parametrize("normalization", choices.NORMALIZATIONS)
def test_new_submodels_are_the_base_bit_for_bit(normalization):
    space = make(random_basis=False, normalization=normalization)
    x = activations()
    functions = space.site_functions(space.select([0, 2]))
    assert tuple(functions.names) == LAYOUT.site_names
    for name in functions.names:
        y = functions.apply(name, tf.constant(x), tf.constant(x))
        np.testing.assert_array_equal(y.numpy(), x)


def test_normalised_embeddings_are_weights_or_directions():
    z = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    softmax = np.asarray(embeddings.normalize(z, "softmax"))
    np.testing.assert_allclose(softmax.sum(axis=1), 1.0, rtol=1e-5)
    unit = np.asarray(embeddings.normalize(z, "unit"))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-5)
    zero = embeddings.normalize(np.zeros([1, 4], "float32"), "unit")
    assert np.all(np.asarray(zero) == 0.0)


def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="Received: 'unity'"):
        make(normalization="unity")


def test_gradients_are_those_of_the_sum():
    def normal(seed, *shape):
        draw = np.random.default_rng(seed)
        return tf.constant(draw.standard_normal(shape), tf.float32)

    weights, elements = normal(0, 2, 4), normal(1, 4, 3, 2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([weights, elements])
        ours = selection.select({"name": elements}, weights)["name"]
        plain = tf.einsum("se,e...->s...", weights, elements)
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    for source in (weights, elements):
        np.testing.assert_allclose(
            tape.gradient(ours, source, normal(2, 2, 3, 2)),
            tape.gradient(plain, source, normal(2, 2, 3, 2)),
            rtol=1e-5,
        )


def test_a_speaker_without_a_finite_gradient_spoils_its_own_alone():
    space = make()
    trainables = space.trainables(tf.constant([0, 1]))
    with tf.GradientTape() as tape:
        tape.watch(trainables)
        weights, _ = space.select_for_training(trainables, inputs(SEEDS))
        each = [
            tf.reduce_sum(tensor, axis=range(1, tensor.ndim))
            for tensor in weights.values()
        ]
        total = tf.reduce_sum(tf.add_n(each) * tf.constant([1.0, np.nan]))
    gradients = tape.gradient(total, trainables)
    own = gradients.pop(embedding_space.EMBEDDING).numpy()
    assert np.all(np.isfinite(own[0]))
    assert not np.any(np.isfinite(own[1]))
    first = space.embeddings.numpy()[0]
    for gradient in gradients.values():
        shape = (4, *[1] * (gradient.ndim - 1))
        expected = np.broadcast_to(first.reshape(shape), gradient.shape)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_start_is_a_function_of_the_speaker_and_not_of_the_slot():
    together, alone = make(), make(["cy"])
    np.testing.assert_array_equal(
        together.embeddings.numpy()[2], alone.embeddings.numpy()[0]
    )
    assert np.any(together.embeddings[0] != together.embeddings[1])
    np.testing.assert_allclose(
        together.mean_embedding, together.embeddings.numpy().mean(axis=0)
    )


def test_unknown_speaker_is_an_error():
    with pytest.raises(ValueError, match="'dan' has no slot"):
        make().slot("dan")


def test_a_frozen_basis_is_not_among_the_trainables():
    slots = tf.constant([2, 0])
    frozen, free = make(basis_trainable=False), make()
    assert set(frozen.trainables(slots)) == {embedding_space.EMBEDDING}
    assert len(free.trainables(slots)) == 1 + len(LAYOUT.shapes)
    for name, weights in frozen.select(slots).items():
        np.testing.assert_array_equal(weights, free.select(slots)[name])


SEEDS = tf.constant([[1, 2], [3, 4]])


def inputs(seeds):
    """A step of two speakers, the second in a place that is empty."""
    return trainable.StepInputs(
        seeds=seeds,
        active=tf.constant([True, False]),
        utterance_weights=tf.ones([2, 2]),
        activations=tf.constant(activations()),
        paddings=tf.zeros([4, 5]),
    )


def dropped(seeds, **rates):
    """The embeddings that a space mixes by: the mixture of unit elements."""
    space = make(**rates)
    space.set_embeddings(1.0 + space.embeddings.numpy())
    unit = np.zeros((4, 6), "float32")
    unit[:, :4] = np.eye(4)
    trainables = space.trainables(tf.constant([0, 1]))
    name = layouts.tensor_name(0, "up_bias")
    trainables[embedding_space.BASIS + name] = tf.constant(unit)
    weights, _ = space.select_for_training(trainables, inputs(seeds))
    return space, weights[name].numpy()[:, :4]


def test_dropped_elements_are_left_out_and_the_rest_is_scaled():
    space, weights = dropped(SEEDS, element_dropout_rate=0.5)
    own = space.embeddings.numpy()[:2]
    assert np.all((weights == 0.0) | np.isclose(weights, 2 * own))
    assert np.any(weights == 0.0) and np.any(weights != 0.0)
    # What a speaker draws is of its own seed, whoever is beside it.
    _, other = dropped(tf.constant([[9, 9], [3, 4]]), element_dropout_rate=0.5)
    np.testing.assert_array_equal(weights[1], other[1])


def test_a_dropped_speaker_uses_the_mean_embedding():
    space, weights = dropped(SEEDS, speaker_dropout_rate=0.999999)
    for row in weights:
        np.testing.assert_allclose(row, space.mean_embedding, rtol=1e-6)


def test_evaluation_drops_nothing():
    dropping = make(element_dropout_rate=0.9, speaker_dropout_rate=0.9)
    for name, weights in dropping.select([0, 1]).items():
        np.testing.assert_array_equal(weights, make().select([0, 1])[name])


def hearing(**values):
    """A space with an encoder, and its trainables of two speakers."""
    space = make(encoder=space_encoder.SpaceEncoder(6, 4, 5), **values)
    for variable in space.encoder.variables_by_name.values():
        draw = np.random.default_rng(2)
        variable.assign(draw.standard_normal(variable.shape))
    return space, space.trainables([0, 1])


def predicted(space):
    """The predictions of the encoder of a space for those two speakers."""
    _, _, weights, x, paddings = inputs(SEEDS)
    heard = space.encoder.statistics(x, paddings, weights)
    return space.encoder.predict(space.encoder.tensors(), heard)


def test_a_prediction_stands_for_an_embedding_as_often_as_asked():
    found = {}
    for rate in (0.0, 0.999999):
        space, trainables = hearing(prediction_rate=rate)
        found[rate], _ = space.select_for_training(trainables, inputs(SEEDS))
    for name in LAYOUT.shapes:
        element = space.basis.variables_by_name[name]
        for rate, weights in (
            (0.0, space.embeddings[:2]),
            (0.999999, predicted(space)),
        ):
            np.testing.assert_allclose(
                found[rate][name],
                tf.einsum("se,e...->s...", weights, element),
                atol=1e-4,
            )


def test_what_is_learned_is_not_drawn_to_what_is_predicted():
    space, trainables = hearing()
    with tf.GradientTape() as tape:
        tape.watch(trainables)
        _, loss = space.select_for_training(trainables, inputs(SEEDS))
    distance = predicted(space) - space.embeddings[:2]
    np.testing.assert_allclose(loss, np.sum(distance[0] ** 2), rtol=1e-5)
    gradients = tape.gradient(loss, trainables)
    assert gradients[embedding_space.EMBEDDING] is None
    moved = [
        gradient
        for name, gradient in gradients.items()
        if name.startswith(embedding_space.ENCODER) and gradient is not None
    ]
    assert any(np.any(gradient != 0.0) for gradient in moved)


def test_slots_with_a_shared_start_differ_in_nothing():
    shared = stack.Stack(["ann", "bob"], LAYOUT)
    shared.initialize(seed=0, shared_start=True)
    alone = stack.Stack(["bob"], LAYOUT)
    alone.initialize(seed=0, shared_start=True)
    for name, tensor in shared.read(0).items():
        np.testing.assert_array_equal(tensor, shared.read(1)[name])
        np.testing.assert_array_equal(tensor, alone.read(0)[name])
