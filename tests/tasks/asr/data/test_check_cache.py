"""A start that follows another decodes only what is new."""

import json
import os

import numpy as np
import pytest
import soundfile

from tasks.asr.data import check_cache, decoder, inspection


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    lines = []
    for name in ("a", "b", "silent"):
        scale = 0.0 if name == "silent" else 0.1
        samples = scale * draw.standard_normal(8000)
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
        lines.append(
            {"audio_filepath": f"{name}.wav", "text": "on", "speaker": "ann"}
        )
    lines.append({**lines[0], "offset": 0.25})
    (tmp_path / "all.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in lines)
    )
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that have been opened, each time it was."""
    names, opened = [], decoder.opened

    def counted(path):
        names.append(os.path.basename(path))
        return opened(path)

    monkeypatch.setattr(decoder, "opened", counted)
    return names


def read(folder, max_seconds=2.0):
    return inspection.read(
        folder / "all.jsonl",
        decoding=inspection.Decoding(max_seconds, checks_folder=str(folder)),
    )


def test_a_second_start_finds_the_same_without_decoding(folder, decoded):
    first = read(folder)
    assert sorted(decoded) == ["a.wav", "a.wav", "b.wav", "silent.wav"]
    assert [each.duration for each in first[0]] == [0.5, 0.5, 0.25]
    assert [each.reason for each in first[1]] == ["silence from start to end"]
    decoded.clear()
    assert read(folder) == first
    assert decoded == []


def test_a_recording_is_opened_once_for_its_samples_and_its_length(
    folder, decoded
):
    line = {"audio_filepath": "b.wav", "text": "on", "speaker": "ann"}
    text = json.dumps({**line, "duration": 0.25})
    (folder / "all.jsonl").write_text(text)
    ((utterance,), _) = read(folder)
    assert (utterance.duration, utterance.recording_seconds) == (0.25, 0.5)
    assert decoded == ["b.wav"]


def test_a_changed_file_is_checked_again(folder, decoded):
    read(folder)
    decoded.clear()
    soundfile.write(folder / "b.wav", np.zeros(8000), 16000)
    utterances, left_out = read(folder)
    assert decoded == ["b.wav"]
    assert len(utterances) == 2 and len(left_out) == 2
    os.utime(folder / "a.wav", ns=(1, 1))
    decoded.clear()
    read(folder)
    assert decoded == ["a.wav", "a.wav"]


def test_a_missing_file_is_not_kept(folder, decoded):
    (folder / "b.wav").rename(folder / "away.wav")
    assert len(read(folder)[0]) == 2
    (folder / "away.wav").rename(folder / "b.wav")
    decoded.clear()
    assert len(read(folder)[0]) == 3
    assert decoded == ["b.wav"]


def test_another_limit_checks_again(folder, decoded):
    read(folder)
    decoded.clear()
    utterances, left_out = read(folder, 0.3)
    assert len(utterances) == 1
    assert {each.reason for each in left_out} == {
        "longer than the base model takes"
    }
    assert len(decoded) == 4


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[1, 2]\n", b'["a", [1, 2], [0.0]]\n', b"{"]
)
def test_a_damaged_file_only_costs_time(folder, decoded, content):
    first = read(folder)
    (folder / check_cache.NAME).write_bytes(content)
    decoded.clear()
    assert read(folder) == first
    assert len(decoded) == 4
    decoded.clear()
    assert read(folder) == first
    assert decoded == []


def test_an_altered_result_is_not_believed(folder, decoded):
    first = read(folder)
    path = folder / check_cache.NAME
    before = path.read_bytes()
    path.write_bytes(before.replace(b"[0.0, 0.", b"[0.0, 1."))
    assert path.read_bytes() != before
    decoded.clear()
    assert read(folder) == first
    assert len(decoded) == 4


def test_nothing_is_kept_unless_a_folder_is_named(folder):
    inspection.read(folder / "all.jsonl", decoding=inspection.Decoding(2.0))
    assert check_cache.NAME not in os.listdir(folder)
