"""The engine of an export: loads whole ones, answers from any thread."""

import concurrent.futures
import os
import pathlib
import shutil

import numpy as np
import pytest

from tasks.asr.recognition import statuses
from tasks.serving.exports import (
    description as export_description,
    saved_model,
    warmup,
)
from tests.tasks.serving import example_exports


@pytest.fixture(scope="module")
def loaded():
    return example_exports.loaded("short")


def test_transcribe_gives_text_score_and_status_of_each_row(loaded):
    audio, length = example_exports.utterances([9000, 20000, 9000])
    length[1] = 0
    rows = example_exports.rows("short", 2)
    index = np.array([0, 0, 1], "int32")
    languages = np.zeros(3, "int32")
    answer = loaded.transcribe(audio, length, rows, index, languages)
    assert answer.status[1] == "length must be at least 1 sample. Received: 0."
    assert all(map(statuses.has_text, answer.status[::2]))
    assert [type(text) for text in answer.text] == [bytes] * 3
    base = loaded.predict("base", {"audio": audio, "length": length})
    assert answer.text[2] == base["text"][2]
    assert answer.score[2] == base["score"][2]


def test_many_threads_get_what_one_gets(loaded):
    audio, length = example_exports.utterances([9000, 20000, 15000, 31000])
    rows = example_exports.rows("short", 4)

    def call(row):
        one = slice(row, row + 1)
        return loaded.transcribe(
            audio[one], length[one], rows[one], *2 * [np.zeros(1, "int32")]
        )

    expected = [call(row) for row in range(4)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, list(range(4)) * 8))
    for place, answer in enumerate(found):
        assert answer.text == expected[place % 4].text
        np.testing.assert_allclose(
            answer.score, expected[place % 4].score, atol=1e-5
        )


def test_signatures_are_those_of_the_saved_model(loaded):
    assert set(loaded.signatures) == {"serving_default", "base", "grouped"}
    assert set(loaded.signatures["grouped"].inputs) == {
        "audio",
        "length",
        "submodels",
        "index",
    }
    assert loaded.description.base_fingerprint == (
        example_exports.base("short").fingerprint()
    )


def test_wrong_inputs_are_named(loaded):
    audio, length = example_exports.utterances([9000, 9000])
    good = {"audio": audio, "length": length}
    for change, message in (
        ({"extra": length}, "Extra: extra. Missing: none"),
        ({"length": None}, "Extra: none. Missing: length"),
        (
            {"audio": audio.astype("float64")},
            "audio: the dtype must be float32",
        ),
        ({"length": length.astype("int64")}, "length: the dtype must be int32"),
        ({"audio": audio[0]}, "audio: the shape must be \\[any, any\\]"),
        ({"length": length[:1]}, "same number of rows"),
    ):
        inputs = {**good, **change}
        inputs = {k: v for k, v in inputs.items() if v is not None}
        with pytest.raises(ValueError, match=message):
            loaded.predict("base", inputs)
    rows = example_exports.rows("short", 2)[:, 1:]
    with pytest.raises(ValueError, match="submodel: the shape must be"):
        loaded.predict("serving_default", {**good, "submodel": rows})


def test_an_unknown_signature_is_an_error_that_names_those_known(loaded):
    with pytest.raises(
        ValueError,
        match="no signature 'bas'. There are: base, grouped, serving_default",
    ):
        loaded.predict("bas", {})


def test_warm_up_records_are_requests_that_succeed(loaded):
    requests = warmup.read(loaded.path)
    assert {name for name, _ in requests} == set(loaded.signatures)
    buckets = {
        loaded.description.bucket(int(inputs["length"][0]))
        for name, inputs in requests
        if name == "grouped"
    }
    assert buckets == set(range(len(loaded.description.bucket_limits)))
    for name, inputs in requests:
        (status,) = loaded.predict(name, inputs)["status"]
        assert statuses.has_text(status.decode())
    path = os.path.join(loaded.path, warmup.FILE)
    assert os.path.getsize(path) < 1 << 14


@pytest.fixture
def copy(tmp_path):
    return pathlib.Path(
        shutil.copytree(example_exports.folder("short"), tmp_path / "1")
    )


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("spoil", [_flip, _cut, pathlib.Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
        "description.json",
    ],
)
def test_a_corrupt_export_is_one_clear_error(copy, name, spoil):
    spoil(copy / name)
    with pytest.raises(ValueError, match=str(copy)) as refused:
        saved_model.SavedModelEngine(copy)
    assert len(str(refused.value)) < 1000


def test_a_description_of_another_graph_is_refused(copy):
    other = example_exports.recognizer("conformer")
    description = export_description.read(copy)
    fields = {
        **vars(description),
        "parts": other.layout.to_json(),
        "num_values": other.layout.num_values,
    }
    export_description.write(copy, export_description.Description(**fields))
    with pytest.raises(ValueError, match="disagrees on the number"):
        saved_model.SavedModelEngine(copy)


def test_a_closed_engine_says_so():
    opened = saved_model.SavedModelEngine(
        example_exports.folder("conformer"), warm_up=False
    )
    opened.close()
    with pytest.raises(ValueError, match="is closed"):
        opened.predict("base", {})
