"""A space of embeddings: mixing, its gradients, where speakers start."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.space import embedding_space, embeddings
from lingvo_like.space import encoder as space_encoder
from lingvo_like.stack import stack
from lingvo_like.submodel import layout as submodel_layout

LAYOUT = submodel_layout.Layout(model_dim=6, bottleneck_dim=3, blocks=(0, 2))
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
    for name, tensor in space.row(1).items():
        basis = space.basis.variables_by_name[name].numpy()
        expected = np.einsum("e,e...->...", embedding, basis)
        np.testing.assert_allclose(tensor, expected, atol=1e-5)


def test_the_zero_embedding_is_the_base_bit_for_bit():
    space = make()
    space.set_embeddings(np.zeros([3, 4]))
    x = activations()
    for function in space.adapter_functions(space.gather([0, 2])).values():
        np.testing.assert_array_equal(function(tf.constant(x)).numpy(), x)


@pytest.mark.parametrize("normalization", embeddings.NORMALIZATIONS)
def test_new_submodels_are_the_base_bit_for_bit(normalization):
    space = make(random_basis=False, normalization=normalization)
    x = activations()
    for function in space.adapter_functions(space.gather([0, 2])).values():
        np.testing.assert_array_equal(function(tf.constant(x)).numpy(), x)


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
    weights = tf.constant(np.random.default_rng(0).standard_normal((2, 4)))
    elements = tf.constant(np.random.default_rng(1).standard_normal((4, 3, 2)))
    upstream = tf.constant(np.random.default_rng(2).standard_normal((2, 3, 2)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([weights, elements])
        ours = tf.cast(
            embeddings.mix(
                tf.cast(weights, tf.float32), tf.cast(elements, tf.float32)
            ),
            tf.float64,
        )
        plain = tf.einsum("se,e...->s...", weights, elements)
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    for source in (weights, elements):
        np.testing.assert_allclose(
            tape.gradient(ours, source, upstream),
            tape.gradient(plain, source, upstream),
            rtol=1e-5,
        )


def test_a_speaker_without_a_finite_gradient_spoils_its_own_alone():
    space = make()
    trainables = space.trainables(tf.constant([0, 1]))
    with tf.GradientTape() as tape:
        tape.watch(trainables)
        rows = space.rows(trainables)
        each = [
            tf.reduce_sum(row, axis=range(1, row.ndim)) for row in rows.values()
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
    for name, rows in frozen.gather(slots).items():
        np.testing.assert_array_equal(rows, free.gather(slots)[name])


def dropped(seeds, **rates):
    """The embeddings that a space mixes by: the mixture of unit elements."""
    space = make(**rates)
    space.set_embeddings(1.0 + space.embeddings.numpy())
    unit = np.zeros((4, 6), "float32")
    unit[:, :4] = np.eye(4)
    trainables = space.trainables(tf.constant([0, 1]))
    trainables[embedding_space.BASIS + "block_00/up_bias"] = tf.constant(unit)
    rows = space.rows(trainables, seeds)["block_00/up_bias"]
    return space, rows.numpy()[:, :4]


def test_dropped_elements_are_left_out_and_the_rest_is_scaled():
    seeds = tf.constant([[1, 2], [3, 4]])
    space, weights = dropped(seeds, element_dropout_rate=0.5)
    own = space.embeddings.numpy()[:2]
    assert np.all((weights == 0.0) | np.isclose(weights, 2 * own))
    assert np.any(weights == 0.0) and np.any(weights != 0.0)
    # What a speaker draws is of its own seed, whoever is beside it.
    _, other = dropped(tf.constant([[9, 9], [3, 4]]), element_dropout_rate=0.5)
    np.testing.assert_array_equal(weights[1], other[1])


def test_a_dropped_speaker_uses_the_mean_embedding():
    seeds = tf.constant([[1, 2], [3, 4]])
    space, weights = dropped(seeds, speaker_dropout_rate=0.999999)
    for row in weights:
        np.testing.assert_allclose(row, space.mean_embedding, rtol=1e-6)


def test_evaluation_drops_nothing():
    space, weights = dropped(
        None, element_dropout_rate=0.9, speaker_dropout_rate=0.9
    )
    np.testing.assert_array_equal(weights, space.embeddings.numpy()[:2])


def hearing(**values):
    """A space with an encoder, its trainables and what two speakers said."""
    space = make(encoder=space_encoder.SpaceEncoder(6, 4, 5), **values)
    for variable in space.encoder.variables_by_name.values():
        draw = np.random.default_rng(2)
        variable.assign(draw.standard_normal(variable.shape))
    heard = space.listen(
        tf.constant(activations()), tf.zeros([4, 5]), tf.ones([2, 2])
    )
    return space, space.trainables([0, 1]), heard


def test_a_prediction_stands_for_an_embedding_as_often_as_asked():
    seeds = tf.constant([[1, 2], [3, 4]])
    found = {}
    for rate in (0.0, 0.999999):
        space, trainables, heard = hearing(prediction_rate=rate)
        found[rate] = space.rows(trainables, seeds, heard)
    predicted = space.encoder.predict(space.encoder.tensors(), heard)
    for name in LAYOUT.shapes:
        element = space.basis.variables_by_name[name]
        for rate, weights in (
            (0.0, space.embeddings[:2]),
            (0.999999, predicted),
        ):
            np.testing.assert_allclose(
                found[rate][name],
                tf.einsum("se,e...->s...", weights, element),
                atol=1e-4,
            )


def test_what_is_learned_is_not_drawn_to_what_is_predicted():
    space, trainables, heard = hearing()
    with tf.GradientTape() as tape:
        tape.watch(trainables)
        loss = space.prediction_loss(
            trainables, heard, tf.constant([True, False])
        )
    distance = (
        space.encoder.predict(space.encoder.tensors(), heard)
        - space.embeddings[:2]
    )
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
    for name, tensor in shared.row(0).items():
        np.testing.assert_array_equal(tensor, shared.row(1)[name])
        np.testing.assert_array_equal(tensor, alone.row(0)[name])
