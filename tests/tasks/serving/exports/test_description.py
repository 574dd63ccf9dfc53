"""description.json: read as it was written, or refused."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tasks.serving.exports import description as export_description
from tests import layouts

DESCRIPTION = export_description.Description(
    format_version=export_description.FORMAT_VERSION,
    base_fingerprint="f" * 64,
    experiment="whisper.Demo",
    sample_rate=16000,
    max_samples=48000,
    bucket_limits=(8000, 24000, 48000),
    bucket_samples=(16000, 32000, 48000),
    parts=layouts.adapters(16, 4, (0, 2), 0.7).to_json(),
    num_values=360,
    max_tokens=64,
    beam_size=1,
    requires_tensorflow_text=False,
    languages=("en",),
    default_language="",
    base_description={"model": "whisper"},
    submodel={},
    signatures={"base": {"inputs": {}, "outputs": {}}},
)


def test_a_description_comes_back_from_its_file(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    written = dataclasses.replace(
        DESCRIPTION, files=export_description.file_digests(tmp_path)
    )
    export_description.write(tmp_path, written)
    read = export_description.read(tmp_path)
    assert dataclasses.replace(read, sha256="") == written
    assert list(written.files) == ["variables/data"]
    export_description.check_files(tmp_path, written)


def test_the_layout_has_as_many_values_as_the_description_says():
    assert DESCRIPTION.layout.num_values == DESCRIPTION.num_values


SEVERAL = dataclasses.replace(DESCRIPTION, languages=("en", "de", "fr"))


@pytest.mark.parametrize(
    ("default", "asked", "own", "index"),
    [
        ("", "fr", "de", 2),
        ("", "DE-at", "", 1),
        ("en", "", "de", 1),
        ("de", "", "", 1),
    ],
)
def test_a_language_is_asked_for_or_the_submodels_or_the_default(
    default, asked, own, index
):
    some = dataclasses.replace(SEVERAL, default_language=default)
    assert some.language_index(asked, own) == index


@pytest.mark.parametrize(
    ("languages", "asked", "message"),
    [
        (("en", "de"), "", "nothing says in which language.*It knows: de, en"),
        (("en", "de"), "es", "no language 'es'. It knows: de, en"),
        (("en", "de"), "Spanish", "code of two or three.*It knows: de, en"),
        (("en",), "es", "'en' alone"),
        (("",), "es", "no languages to choose from"),
    ],
)
def test_a_language_that_cannot_be_is_refused(languages, asked, message):
    some = dataclasses.replace(DESCRIPTION, languages=languages)
    with pytest.raises(ValueError, match=message):
        some.language_index(asked)


def test_a_default_is_one_of_the_languages():
    with pytest.raises(ValueError, match="default_language.*de, en, fr.*'es'"):
        dataclasses.replace(SEVERAL, default_language="es")
    with pytest.raises(ValueError, match="`languages` must not be empty"):
        dataclasses.replace(SEVERAL, languages=())


def test_a_bucket_is_the_first_that_holds_the_utterance():
    for num_samples, bucket in (
        (1, 0),
        (8000, 0),
        (8001, 1),
        (24000, 1),
        (48000, 2),
    ):
        assert DESCRIPTION.bucket(num_samples) == bucket
    with pytest.raises(ValueError, match="lasts 3.00 s; .* at most 3 s"):
        DESCRIPTION.bucket(48001)
    with pytest.raises(ValueError, match="at least 1 sample. Received: 0"):
        DESCRIPTION.bucket(0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format_version": 2}, "format version must be 3. Received: 2"),
        ({"base_fingerprint": ""}, "base_fingerprint"),
        ({"bucket_limits": (8000, 8000, 48000)}, "must ascend"),
        ({"bucket_limits": (8000, 24000, 40000)}, "must ascend"),
        ({"bucket_samples": (16000, 32000)}, "a length for each"),
        ({"bucket_samples": (7999, 32000, 48000)}, "none below it"),
        ({"beam_size": 0}, "`beam_size` must be positive"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DESCRIPTION, **changes)
    assert refusal_of_file(tmp_path, **changes)


def test_a_file_with_an_unknown_field_is_refused(tmp_path):
    assert "more" in refusal_of_file(tmp_path, more=1)


def refusal_of_file(folder, **changes):
    """Why description.json is refused once its values are changed."""
    export_description.write(folder, DESCRIPTION)
    file = folder / export_description.FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ValueError) as refused:
        export_description.read(folder)
    assert str(file) in str(refused.value)
    return str(refused.value)


def test_an_altered_value_is_found_by_the_checksum(tmp_path):
    export_description.write(tmp_path, DESCRIPTION)
    file = tmp_path / export_description.FILE
    file.write_text(file.read_text().replace("24000", "23000"))
    with pytest.raises(ValueError, match="altered: its SHA-256 must be"):
        export_description.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', "\xff"])
def test_what_is_no_description_is_refused(tmp_path, text):
    (tmp_path / export_description.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=export_description.FILE):
        export_description.read(tmp_path)


def test_a_folder_without_a_description_is_no_export(tmp_path):
    with pytest.raises(ValueError, match="is missing: this is no export"):
        export_description.read(tmp_path)


def test_missing_and_altered_files_are_named(tmp_path):
    file = tmp_path / "saved_model.pb"
    file.write_bytes(b"graph")
    written = dataclasses.replace(
        DESCRIPTION, files=export_description.file_digests(tmp_path)
    )
    (tmp_path / "notes.txt").write_text("somebody's own")
    export_description.check_files(tmp_path, written)
    file.write_bytes(b"Graph")
    with pytest.raises(ValueError, match="saved_model.pb is cut or altered"):
        export_description.check_files(tmp_path, written)
    file.unlink()
    with pytest.raises(ValueError, match="saved_model.pb is missing"):
        export_description.check_files(tmp_path, written)


def test_reading_takes_no_tensorflow():
    program = (
        "import sys; from tasks.serving.exports import description; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
