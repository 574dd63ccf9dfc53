"""Selecting weights and applying them at their sites, and what both promise.

Training, evaluation and exported models run this code and no other.
"""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.submodel import selection, sites
from tests import layouts

LAYOUT = layouts.adapters(model_dim=6, bottleneck_dim=3, blocks=(0, 2))
NUM_SLOTS = 5


def random_stack(seed=0):
    draw = np.random.default_rng(seed)
    return {
        name: tf.Variable(
            draw.standard_normal((NUM_SLOTS, *shape)).astype("float32") * 0.5
        )
        for name, shape in LAYOUT.shapes.items()
    }


def activations(utterances, seed=1):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((utterances, 4, 6)).astype("float32")


def adapted(stacked, selector, x, **values):
    weights = selection.select(stacked, selector)
    functions = sites.site_functions(LAYOUT, weights, **values)
    assert tuple(functions.names) == LAYOUT.site_names
    for name in functions.names:
        x = functions.apply(name, x, x)
    return np.asarray(x)


def test_zeros_are_the_identity_bit_for_bit():
    zeros = {
        name: tf.zeros([NUM_SLOTS, *shape])
        for name, shape in LAYOUT.shapes.items()
    }
    x = activations(4)
    for selector in (np.array([0, 3]), np.ones((2, NUM_SLOTS), "float32")):
        np.testing.assert_array_equal(adapted(zeros, selector, x), x)


def test_a_mixed_batch_gives_each_speaker_what_it_gets_alone():
    stacked, x = random_stack(), activations(8)
    slots = [4, 0, 2, 1]
    together = adapted(stacked, np.array(slots), x)
    for place, slot in enumerate(slots):
        own = slice(2 * place, 2 * place + 2)
        alone = adapted(stacked, np.array([slot]), x[own])
        np.testing.assert_allclose(together[own], alone, atol=1e-5)
    other = adapted(stacked, np.array([4, 3, 3, 3]), x)
    np.testing.assert_allclose(together[:2], other[:2], atol=1e-5)


def test_a_graph_gives_what_eager_calls_give():
    stacked, x = random_stack(), activations(4)

    def applied(weights, x):
        functions = sites.site_functions(LAYOUT, weights)
        return functions.apply("encoder/block_02/output", x, x)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None, 6]),
        ]
    )
    def traced(row_indices, x):
        weights = selection.select(stacked, row_indices)
        return applied(weights, x)

    weights = selection.select(stacked, [3, 1])
    expected = applied(weights, x)
    np.testing.assert_allclose(traced([3, 1], x), expected, atol=1e-6)
    assert traced(np.zeros([0], np.int32), x[:0]).shape == (0, 4, 6)


def test_one_hot_embedding_selects_what_the_id_selects():
    stacked, x = random_stack(), activations(2)
    one_hot = np.eye(NUM_SLOTS, dtype="float32")[[2, 4]]
    np.testing.assert_allclose(
        adapted(stacked, one_hot, x),
        adapted(stacked, np.array([2, 4]), x),
        atol=1e-6,
    )


def test_embedding_mixes_the_weights_and_not_the_outputs():
    stacked = random_stack()
    halves = np.array([[0.5, 0.5, 0, 0, 0]], "float32")
    for name, mixed in selection.select(stacked, halves).items():
        first, second = stacked[name].numpy()[:2]
        np.testing.assert_allclose(mixed[0], (first + second) / 2, atol=1e-6)


@pytest.mark.parametrize("row_indices", [[NUM_SLOTS], [-1], [0, 99]])
def test_unknown_row_is_an_error_and_not_a_clipped_index(row_indices):
    for known in (row_indices, np.array(row_indices), tf.constant(row_indices)):
        with pytest.raises(ValueError, match=r"row indices must be in \[0, 5"):
            selection.select(random_stack(), known)


def test_unknown_row_in_a_graph_is_an_error_too():
    stacked = random_stack()
    select = tf.function(lambda rows: selection.select(stacked, rows))
    with pytest.raises(tf.errors.InvalidArgumentError):
        select(tf.constant([NUM_SLOTS]))


def test_embedding_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"\[speakers, 5\]"):
        selection.select(random_stack(), np.zeros((2, 4), "float32"))


def test_a_step_reads_only_the_rows_that_it_selects():
    stacked = random_stack()
    select = tf.function(lambda rows: selection.select(stacked, rows))
    graph = select.get_concrete_function(tf.TensorSpec([2], tf.int32)).graph
    types = {operation.type for operation in graph.get_operations()}
    assert "ResourceGather" in types
    assert "ReadVariableOp" not in types
