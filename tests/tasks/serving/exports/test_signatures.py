"""An export says what the Keras model says, row by row, whoever is beside."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.stack import stack
from tasks.asr.recognition import statuses
from tasks.serving.exports import signatures
from tests.tasks.serving import example_exports

kinds = pytest.mark.parametrize("kind", example_exports.KINDS)
LENGTHS = [7000, 20000, 31000, 9000]


def has_text(status):
    return statuses.has_text(status.decode())


def predict(kind, signature, **inputs):
    return example_exports.loaded(kind).predict(signature, inputs)


def grouped(kind, audio, length, submodels, index):
    return predict(
        kind,
        "grouped",
        audio=audio,
        length=length,
        submodels=submodels,
        index=np.array(index, "int32"),
    )


def keras_model(kind, audio, length, row, beam_size=1):
    """One utterance as evaluation recognises it: text and score."""
    base, made = example_exports.base(kind), example_exports.recognizer(kind)
    trained = stack.Stack(
        ["ann"], made.layout, made.layout.constants(base.kernel)
    )
    trained.write(0, made.layout.unpack(row))
    functions = trained.site_functions(trained.select([0]))
    padded = np.zeros((1, base.bucket_samples(length)), "float32")
    padded[0, :length] = audio[:length]
    encoded, paddings = base.encode(
        *base.features(tf.constant(padded), tf.constant([length])), functions
    )
    tokens, lengths, scores, _ = base.decode(
        encoded, paddings, beam_size, functions=functions
    )
    return base.detokenize(tokens, lengths).numpy()[0], scores.numpy()[0]


@kinds
def test_bucket_table_says_what_the_base_says(kind):
    base = example_exports.base(kind)
    limits, samples = signatures.bucket_table(base)
    assert limits[-1] == base.max_samples
    for index, (limit, room) in enumerate(zip(limits, samples, strict=True)):
        first = 1 + (limits[index - 1] if index else 0)
        assert base.bucket_samples(first) == room
        assert base.bucket_samples(limit) == room
    assert len(set(samples)) == len(samples)


@kinds
def test_exported_output_equals_the_keras_model(kind):
    audio, length = example_exports.utterances(LENGTHS)
    submodels = example_exports.rows(kind, 4)
    index = [0, 1, 2, 0]
    answer = grouped(kind, audio, length, submodels, index)
    assert all(map(has_text, answer["status"]))
    for row, chosen in enumerate(index):
        text, score = keras_model(
            kind, audio[row], length[row], submodels[chosen]
        )
        assert answer["text"][row] == text
        assert answer["score"][row] == pytest.approx(score, abs=1e-5)


@kinds
def test_a_row_of_a_mixed_batch_is_the_row_alone(kind):
    audio, length = example_exports.utterances(LENGTHS)
    submodels = example_exports.rows(kind, 4)
    order = [3, 0, 1, 2]
    mixed = grouped(kind, audio[order], length[order], submodels, order)
    for place, row in enumerate(order):
        alone = predict(
            kind,
            "serving_default",
            audio=audio[row : row + 1, : length[row]],
            length=length[row : row + 1],
            submodel=submodels[row : row + 1],
        )
        assert mixed["text"][place] == alone["text"][0]
        assert mixed["status"][place] == alone["status"][0]
        # A score may be large where the model hears nothing that it knows:
        # a hundred thousandth of it, of one at least.
        assert mixed["score"][place] == pytest.approx(
            alone["score"][0], rel=1e-5, abs=1e-5
        )


@pytest.mark.parametrize("kind", ["short"])
def test_a_cut_text_is_there_and_says_so_beside_a_whole_one(kind):
    audio, length = example_exports.utterances([9000, 9000])
    made = example_exports.recognizer(kind)

    def decode(encoded, *_, **__):
        tokens = tf.constant([[40, 41] + [290] * 6, [40] * 8])
        scores = tf.constant([-1.0, -2.0])
        return tokens, tf.constant([2, 8]), scores, tf.constant([True, False])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.base, "decode", decode)
        answer = made.alone(tf.constant(audio), tf.constant(length))
    assert answer["status"].numpy().tolist() == [
        b"OK",
        b"CUT: the text has as many tokens as the base model can write, 8; what"
        b" was said after it is missing. Split the recording.",
    ]
    assert [len(text) for text in answer["text"].numpy()] == [2, 8]
    assert answer["score"].numpy().tolist() == [-1.0, -2.0]


@kinds
def test_submodels_make_a_difference(kind):
    audio, length = example_exports.utterances([20000, 20000])
    audio[1] = audio[0]
    answer = grouped(kind, audio, length, example_exports.rows(kind, 3), [0, 1])
    assert abs(answer["score"][0] - answer["score"][1]) > 1e-3


@kinds
def test_garbage_in_padding_changes_nothing(kind):
    submodels = example_exports.rows(kind, 4)
    index = [0, 1, 2, 3]
    clean = grouped(
        kind, *example_exports.utterances(LENGTHS), submodels, index
    )
    for padding in (np.nan, np.inf, 1e30, -3.0):
        garbage = example_exports.utterances(LENGTHS, 40000, padding)
        answer = grouped(kind, *garbage, submodels, index)
        for name, value in clean.items():
            np.testing.assert_array_equal(answer[name], value)


@kinds
def test_a_submodel_of_zeros_is_the_base_bit_for_bit(kind):
    audio, length = example_exports.utterances(LENGTHS)
    zeros = np.zeros_like(example_exports.rows(kind, 4))
    base = predict(kind, "base", audio=audio, length=length)
    for answer in (
        grouped(kind, audio, length, zeros[:1], [0] * 4),
        predict(
            kind, "serving_default", audio=audio, length=length, submodel=zeros
        ),
    ):
        for name, value in base.items():
            np.testing.assert_array_equal(answer[name], value)


@kinds
def test_bad_rows_have_their_own_status_and_spare_the_others(kind):
    longest = example_exports.base(kind).max_samples
    audio, length = example_exports.utterances([9000] * 13, longest + 1)
    submodels = example_exports.rows(kind, 5)
    submodels[1, 7] = np.nan
    submodels[2, -1] = np.inf
    # Finite, but what it makes of the activations is not.
    submodels[3] = 3e38
    index = [0, 0, 0, 0, 0, 0, -1, 5, 1, 2, 3, 0, 0]
    length[1], length[2], length[3] = 0, longest + 2, longest + 1
    length[11] = 159
    # A constant offset, with dither, is silence.
    audio[12] = 0.2 + np.resize([2e-5, -2e-5], audio.shape[1])
    audio[4, 8999] = np.nan
    audio[5, 100] = 12000.0
    answer = grouped(kind, audio, length, submodels, index)
    assert has_text(answer["status"][0])
    for row, reason in enumerate(
        [
            "",
            "length must be at least 1 sample. Received: 0.",
            f"at most the width of audio, {longest + 1}. Received: ",
            "the utterance is too long",
            "audio has samples that are not finite",
            "audio must be in [-1, 1]",
            "index must be from 0 to 4. Received: -1.",
            "index must be from 0 to 4. Received: 5.",
            "the Submodel has values that are not finite",
            "the Submodel has values that are not finite",
            "overflow",
            "too short to hear anything: length must be at least 160 samples",
            "the utterance is silent from start to end",
        ]
    ):
        assert reason in answer["status"][row].decode()
        if row:
            assert answer["text"][row] == b""
            assert answer["score"][row] == 0.0
    alone = grouped(kind, audio[:1], length[:1], submodels, [0])
    assert answer["text"][0] == alone["text"][0]
    assert answer["score"][0] == pytest.approx(alone["score"][0], abs=1e-5)


def test_nothing_good_is_an_answer_too():
    audio, length = example_exports.utterances([9000])
    answer = grouped(
        "short", audio, 0 * length, example_exports.rows("short", 1), [0]
    )
    assert answer["status"][0].startswith(b"length must")
    none = example_exports.rows("short", 1)[:0]
    answer = grouped("short", audio, length, none, [0])
    assert answer["status"][0].startswith(b"index must be from 0 to -1")
    empty = grouped("short", audio[:0], length[:0], none, [])
    assert {name: value.shape for name, value in empty.items()} == {
        "text": (0,),
        "score": (0,),
        "status": (0,),
    }


def test_inputs_of_different_rows_are_refused_as_a_whole():
    made = example_exports.loaded("short")._functions
    audio, length = example_exports.utterances([9000, 9000])
    rows = example_exports.rows("short", 3)
    for signature, inputs in (
        ("base", {"length": length[:1]}),
        ("serving_default", {"length": length, "submodel": rows}),
        (
            "grouped",
            {
                "length": length,
                "submodels": rows,
                "index": np.zeros(3, "int32"),
            },
        ),
    ):
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="same number of rows"
        ):
            made[signature](audio=tf.constant(audio), **inputs)


def test_a_folded_submodel_is_that_submodel():
    made = example_exports.recognizer("conformer")
    row = example_exports.rows("conformer", 2)[0]
    function = made.signatures(row)["serving_default"]
    audio, length = example_exports.utterances(LENGTHS)
    folded = function(tf.constant(audio), tf.constant(length))
    mixed = grouped("conformer", audio, length, row[None], [0] * 4)
    np.testing.assert_array_equal(folded["text"], mixed["text"])
    np.testing.assert_allclose(folded["score"], mixed["score"], atol=1e-5)


@pytest.mark.slow
@kinds
def test_beam_search_equals_the_keras_model(kind):
    function = example_exports.recognizer(kind, beam_size=3).signatures()[
        "grouped"
    ]
    audio, length = example_exports.utterances(LENGTHS[:3])
    submodels = example_exports.rows(kind, 3)
    answer = function(
        *(tf.constant(x) for x in (audio, length, submodels)),
        tf.constant([0, 1, 2]),
    )
    answer = {name: tensor.numpy() for name, tensor in answer.items()}
    for row in range(3):
        text, score = keras_model(
            kind, audio[row], length[row], submodels[row], beam_size=3
        )
        assert answer["text"][row] == text
        assert answer["score"][row] == pytest.approx(score, abs=1e-5)
