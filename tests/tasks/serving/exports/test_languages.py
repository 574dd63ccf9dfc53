"""An export of several languages: a row's prompt is its own."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.submodel import file as submodel_file
from tasks.asr.recognition import statuses
from tasks.serving.exports import (
    description as export_description,
    folder as export_folder,
    saved_model,
)
from tests.tasks.serving import example_exports

KIND = "languages"
LENGTHS = [7000, 20000, 31000, 9000]


def ints(*values):
    return np.array(values, "int32")


def keras_model(audio, length, row, language):
    """One utterance as evaluation recognises it: text and score."""
    base, made = example_exports.base(KIND), example_exports.recognizer(KIND)
    padded = np.zeros((1, base.bucket_samples(length)), "float32")
    padded[0, :length] = audio[:length]
    functions = made.site_functions(row[None])
    encoded, paddings = base.encode(
        *base.features(tf.constant(padded), tf.constant([length])), functions
    )
    tokens, lengths, scores, _ = base.decode(
        encoded, paddings, languages=ints(language), functions=functions
    )
    return base.detokenize(tokens, lengths).numpy()[0], scores.numpy()[0]


def test_every_signature_takes_the_language_of_each_row():
    for signature in example_exports.loaded(KIND).signatures.values():
        assert "language_index" in signature.inputs
    for signature in example_exports.loaded("short").signatures.values():
        assert "language_index" not in signature.inputs


def test_rows_of_several_languages_are_those_of_the_keras_model():
    audio, length = example_exports.utterances(LENGTHS)
    rows = example_exports.rows(KIND, 4)
    languages = ints(2, 0, 1, 2)
    answer = example_exports.loaded(KIND).transcribe(
        audio, length, rows, ints(0, 1, 2, 3), languages
    )
    assert all(map(statuses.has_text, answer.status))
    for place in range(4):
        text, score = keras_model(
            audio[place], length[place], rows[place], languages[place]
        )
        assert answer.text[place] == text
        np.testing.assert_allclose(
            answer.score[place], score, rtol=1e-5, atol=1e-5
        )


def test_a_row_of_a_mixed_batch_is_the_row_alone():
    audio, length = example_exports.utterances(LENGTHS)
    rows, languages = example_exports.rows(KIND, 4), ints(1, 2, 0, 1)
    engine = example_exports.loaded(KIND)
    index = ints(3, 0, 2, 1)
    together = engine.transcribe(audio, length, rows, index, languages)
    for place in range(4):
        one = slice(place, place + 1)
        alone = engine.transcribe(
            audio[one], length[one], rows, index[one], languages[one]
        )
        assert alone.text[0] == together.text[place]
        np.testing.assert_allclose(
            alone.score[0], together.score[place], rtol=1e-5, atol=1e-5
        )


def test_each_language_is_another_answer():
    audio, length = example_exports.utterances([20000])
    found = [
        example_exports.loaded(KIND).predict(
            "base",
            {"audio": audio, "length": length, "language_index": ints(index)},
        )["score"][0]
        for index in range(3)
    ]
    assert len({round(float(each), 4) for each in found}) == 3


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_index_that_is_out_of_range_is_a_rows_own_fault(wrong):
    audio, length = example_exports.utterances([9000, 9000])
    answer = example_exports.loaded(KIND).predict(
        "base",
        {
            "audio": audio,
            "length": length,
            "language_index": ints(wrong, 1),
        },
    )
    assert answer["status"][0].decode() == (
        f"language_index must be from 0 to 2. Received: {wrong}."
    )
    assert statuses.has_text(answer["status"][1].decode())


def test_the_description_and_the_readme_say_which_index_is_which():
    path = example_exports.folder(KIND)
    description = export_description.read(path)
    assert description.languages == ("en", "de", "fr")
    assert description.default_language == ""
    with open(f"{path}/README.md") as file:
        text = file.read()
    assert "with the value of `language_index`: en 0, de 1, fr 2" in text
    assert "`language_index`, int32 [any]" in text


def test_the_warm_up_of_several_languages_runs():
    saved_model.SavedModelEngine(example_exports.folder(KIND)).close()


def test_a_submodel_folded_in_is_written_in_any_language(tmp_path):
    made = example_exports.recognizer(KIND)
    [row, _] = example_exports.rows(KIND, 2)
    fingerprint = made.base.fingerprint()
    submodel = submodel_file.create(
        made.layout,
        made.layout.unpack(row),
        base_fingerprint=fingerprint,
        speaker="ann",
        language="de",
    )
    path, description = export_folder.write(
        tmp_path, 1, made, fingerprint, "test.Small", submodel, "de"
    )
    assert description.default_language == "de"
    audio, length = example_exports.utterances([9000, 9000])
    engine = saved_model.SavedModelEngine(path, warm_up=False)
    answer = engine.predict(
        "serving_default",
        {"audio": audio, "length": length, "language_index": ints(1, 2)},
    )
    engine.close()
    for place, language in enumerate((1, 2)):
        text, _ = keras_model(audio[place], 9000, row, language)
        assert answer["text"][place] == text
