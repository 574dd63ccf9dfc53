"""Every utterance has the language of its line, of the job or of the base."""

import json

import pytest

from tasks.asr.data import languages, manifest

KNOWN = ("en", "de", "fr")


def written(folder, *spoken):
    path = folder / "some.jsonl"
    lines = [
        {
            "audio_filepath": f"{number}.wav",
            "text": "on",
            "speaker": "ann",
            **({} if language is None else {"language": language}),
        }
        for number, language in enumerate(spoken)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def resolved(path, *spoken):
    lines = manifest.read_lines(path)
    languages.Spoken(*spoken).resolve(lines)
    return [each.language for each in lines.utterances]


def test_a_line_comes_before_the_default(tmp_path):
    path = written(tmp_path, "fr", None, "", "DE-at", None)
    assert resolved(path, KNOWN, "en") == ["fr", "en", "en", "de", "en"]
    assert languages.check([path], KNOWN, "en") == ["de", "en", "fr"]


def test_the_only_language_of_a_base_is_everybodys(tmp_path):
    assert resolved(written(tmp_path, None, "en"), ("en",)) == ["en", "en"]


def test_a_base_without_a_language_takes_what_is_said(tmp_path):
    assert resolved(written(tmp_path, None, "gd"), ("",)) == ["", "gd"]


@pytest.mark.parametrize(
    ("spoken", "known", "message"),
    [
        (("de", None), KNOWN, "some.jsonl:2: .*It knows: de, en, fr; give the"),
        (("de", "xx"), KNOWN, "some.jsonl:2: .*'xx'. It knows: de, en, fr$"),
        (("en", "de"), ("en",), "some.jsonl:2: .*alone. Received: 'de'"),
        (("en", "Klingon"), ("",), "some.jsonl:2: .*code of two or three"),
    ],
)
def test_what_the_base_does_not_know_is_refused_by_line(
    tmp_path, spoken, known, message
):
    path = written(tmp_path, *spoken)
    with pytest.raises(ValueError, match=message):
        languages.check([path], known)


def test_a_default_that_the_base_does_not_know_is_refused():
    with pytest.raises(ValueError, match="base.language: .*'es'. It knows"):
        languages.Spoken(KNOWN, "es")


def test_a_language_is_written_and_read_again(tmp_path):
    path = written(tmp_path, "fr", None)
    utterances = manifest.read_lines(path).utterances
    manifest.write(tmp_path / "again.jsonl", utterances)
    lines = (tmp_path / "again.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["language"] == "fr"
    assert "language" not in json.loads(lines[1])
