import keras
import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models import ctc

RNG = np.random.default_rng(0)


def batch(rows=4, time=30, classes=7, max_tokens=12):
    return (
        RNG.normal(size=(rows, time, classes), scale=2.0).astype("float32"),
        RNG.integers(24, time + 1, rows).astype("int32"),
        RNG.integers(1, classes, (rows, max_tokens)).astype("int32"),
        RNG.integers(0, max_tokens + 1, rows).astype("int32"),
    )


def loss_and_gradient(loss, logits, *arguments):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits, *arguments)
        total = tf.reduce_sum(value)
    return value.numpy(), tape.gradient(total, logits).numpy()


def frames(*classes, num_classes=5):
    """Logits `[1, time, num_classes]` whose best class is the one named."""
    return np.eye(num_classes, dtype="float32")[None, list(classes)] * 9.0


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_agrees_with_the_backends_loss_and_gradient(scale):
    logits, lengths, tokens, token_lengths = batch()
    token_lengths[0] = 0

    def reference(logits, lengths, tokens, token_lengths):
        return keras.ops.ctc_loss(
            tokens, logits, token_lengths, lengths, mask_index=ctc.BLANK
        )

    arguments = (logits * scale, lengths, tokens, token_lengths)
    value, gradient = loss_and_gradient(ctc.negative_log_likelihood, *arguments)
    expected, expected_gradient = loss_and_gradient(reference, *arguments)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


def test_compiles_with_its_gradient_for_static_shapes():
    arguments = batch()
    value, gradient = loss_and_gradient(ctc.negative_log_likelihood, *arguments)

    @tf.function(jit_compile=True)
    def compiled(logits, *rest):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = ctc.negative_log_likelihood(logits, *rest)
            total = tf.reduce_sum(value)
        return value, tape.gradient(total, logits)

    actual = compiled(*(tf.constant(x) for x in arguments))
    np.testing.assert_allclose(actual[0], value, rtol=1e-5)
    np.testing.assert_allclose(actual[1], gradient, atol=1e-4)


def test_a_transcript_that_does_not_fit_costs_and_teaches_nothing():
    logits = RNG.normal(size=(4, 3, 5)).astype("float32")
    lengths = np.array([3, 3, 2, 0], "int32")
    tokens = np.array([[1, 2, 3], [1, 1, 2], [1, 2, 3], [1, 0, 0]], "int32")
    token_lengths = np.array([3, 3, 3, 1], "int32")
    value, gradient = loss_and_gradient(
        ctc.negative_log_likelihood, logits, lengths, tokens, token_lengths
    )
    assert value[0] > 0
    np.testing.assert_array_equal(value[1:], 0.0)
    assert np.abs(gradient[0]).max() > 0
    np.testing.assert_array_equal(gradient[1:], 0.0)


def test_rows_and_padded_frames_do_not_change_a_row():
    logits, lengths, tokens, token_lengths = batch(rows=2)
    lengths[0], token_lengths[0] = 24, 9
    value, gradient = loss_and_gradient(
        ctc.negative_log_likelihood, logits, lengths, tokens, token_lengths
    )
    logits[0, 24:], logits[1], tokens[0, 9:] = 70.0, -3.0, 1
    other, other_gradient = loss_and_gradient(
        ctc.negative_log_likelihood, logits, lengths, tokens, token_lengths
    )
    assert other[0] == value[0]
    np.testing.assert_array_equal(other_gradient[0], gradient[0])
    np.testing.assert_array_equal(gradient[0, 24:], 0.0)


def test_counts_a_frame_for_every_token_and_every_repeat():
    assert ctc.frames_needed([]) == 0
    assert ctc.frames_needed([3, 4, 3]) == 3
    assert ctc.frames_needed([3, 3, 3, 4]) == 6


def test_greedy_merges_repeats_and_drops_blanks():
    logits = frames(0, 2, 2, 0, 2, 3, 3, 0, 4)
    for length, expected in ((9, [2, 2, 3, 4]), (5, [2, 2]), (0, [])):
        tokens, lengths = ctc.greedy_decode(
            logits, np.array([length], "int32"), max_tokens=6
        )
        assert tokens.shape == (1, 6)
        assert lengths[0] == len(expected)
        padding = [ctc.BLANK] * (6 - len(expected))
        assert tokens[0].numpy().tolist() == expected + padding


def test_greedy_cuts_at_the_most_tokens_it_may_give():
    tokens, lengths = ctc.greedy_decode(
        frames(1, 2, 3, 4), np.array([4], "int32"), max_tokens=3
    )
    assert tokens[0].numpy().tolist() == [1, 2, 3]
    assert lengths[0] == 3


def test_beam_search_sums_alignments_where_greedy_takes_one():
    # Two frames of blank .4, a .35, b .25: the best path is blank-blank (.16)
    # and the best text is "a" (.35 * .35 + 2 * .35 * .4 = .40).
    logits = np.log(np.array([[[0.4, 0.35, 0.25]] * 2], "float32"))
    length = np.array([2], "int32")
    _, greedy = ctc.greedy_decode(logits, length, max_tokens=2)
    tokens, lengths = ctc.beam_decode(logits, length, 2, beam_size=4)
    assert greedy[0] == 0
    assert lengths[0] == 1
    assert tokens[0].numpy().tolist() == [1, ctc.BLANK]


def test_beam_search_takes_rows_of_no_frames():
    logits = np.concatenate([frames(1, 2, 2), frames(3, 3, 3)])
    tokens, lengths = ctc.beam_decode(
        logits, np.array([3, 0], "int32"), 4, beam_size=2
    )
    assert lengths.numpy().tolist() == [2, 0]
    assert tokens.numpy().tolist() == [[1, 2, 0, 0], [0, 0, 0, 0]]
