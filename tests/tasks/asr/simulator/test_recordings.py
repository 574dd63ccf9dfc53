"""Corpora of altered recordings on disk."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import soundfile

from tasks.asr.data import inspection, manifest
from tasks.asr.simulator import disorders, recordings
from tests.tasks.asr.simulator import written

pytest.importorskip("scipy", reason="the extra simulate")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A manifest of two speakers, one recording of which is damaged."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    spoken = []
    for speaker, language in (("ann", "es"), ("bob", "fr")):
        for number, split in enumerate(("train", "train", "dev", "test")):
            path = folder / f"{speaker}{number}.flac"
            length = 24000 + 1600 * number
            tone = np.sin(np.arange(length) / 20) * np.hanning(length)
            noise = rng.normal(0, 1e-3, length)
            soundfile.write(path, 0.3 * tone + noise, 16000)
            spoken.append(
                manifest.Utterance(
                    *(str(path), f"text {number}", speaker, f"{number}"),
                    *(length / 16000,),
                    split=split,
                    language=language,
                    mic="head",
                )
            )
    (folder / "bob3.flac").write_bytes(b"fLaC and no more")
    long = folder / "long.flac"
    soundfile.write(long, rng.normal(0, 0.1, 25 * 16000), 16000)
    spoken.append(
        manifest.Utterance(
            str(long), "long", "bob", "long", 25.0, split="test", language="fr"
        )
    )
    manifest.write(folder / "all.jsonl", spoken)
    return folder / "all.jsonl"


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("altered") / "made" / "here"
    recordings.alter(request(source), path, num_processes=2)
    return path


def request(source, **values):
    values = {"severities": ("mild", "severe")} | values
    return recordings.Request(str(source), **values)


def test_each_speaker_becomes_one_more_for_each_severity(folder):
    said = written.lines(folder / "manifest.jsonl")
    counts = {
        speaker: sum(line["speaker"] == speaker for line in said)
        for speaker in ("ann-mild", "ann-severe", "bob-mild", "bob-severe")
    }
    # Bob's long recording is too long when it is slower still.
    assert counts == {
        "ann-mild": 4,
        "ann-severe": 4,
        "bob-mild": 4,
        "bob-severe": 3,
    }
    assert len(said) == 15


def test_every_line_says_simulated_and_keeps_the_labels(folder):
    for line in written.lines(folder / "manifest.jsonl"):
        speaker, _, severity = line["speaker"].partition("-")
        assert line["simulated"] is True
        assert line["severity"] == severity
        assert line["language"] == {"ann": "es", "bob": "fr"}[speaker]
        assert line["utt_id"] == "long" or line["mic"] == "head"
        info = soundfile.info(folder / line["audio_filepath"])
        assert (info.samplerate, info.channels) == (16000, 1)
        assert info.duration == pytest.approx(line["duration"], abs=1e-3)
    said = {
        (line["speaker"], line["utt_id"]): line
        for line in written.lines(folder / "test.jsonl")
    }
    assert ("ann-severe", "3") in said
    assert said["ann-severe", "3"]["text"] == "text 3"
    # Slower.
    assert said["ann-severe", "3"]["duration"] > 1.3 * 1.8


def test_manifests_are_read_by_the_project_without_a_rejection(folder):
    for name, count in (("train", 8), ("dev", 4), ("test", 3)):
        utterances, left_out = inspection.read(
            str(folder / f"{name}.jsonl"),
            strict=True,
            decoding=inspection.Decoding(30.0),
        )
        assert len(utterances) == count
        assert not left_out


def test_what_cannot_be_altered_is_named(source, folder):
    text = (folder / "left_out.txt").read_text()
    assert "longer than 30 s when it is altered" in text
    assert "bob-severe long" in text
    assert "bob3.flac" in text
    metadata = json.loads((folder / recordings.METADATA).read_text())
    assert metadata["num_left_out"] == 2


def test_bytes_do_not_depend_on_processes_or_other_speakers(
    source, folder, tmp_path
):
    again = tmp_path / "again"
    recordings.alter(request(source), again, num_processes=1)
    assert written.digests(again) == written.digests(folder)
    own = tmp_path / "own.jsonl"
    said = [each for each in _read(source) if each.speaker == "ann"]
    manifest.write(own, said[1:])
    recordings.alter(request(own), tmp_path / "alone", num_processes=1)
    alone = set(written.digests(tmp_path / "alone" / "audio").values())
    assert alone < set(written.digests(folder / "audio").values())


def _read(path):
    return manifest.read_lines(path).utterances


def test_another_seed_gives_other_audio(source, folder, tmp_path):
    other = tmp_path / "other"
    recordings.alter(request(source, seed=1), other, num_processes=1)
    found = [
        set(written.digests(path / "audio").values())
        for path in (folder, other)
    ]
    assert not found[0] & found[1]


def test_metadata_holds_what_was_done_to_whom(folder):
    metadata = json.loads((folder / recordings.METADATA).read_text())
    assert metadata["simulated"] is True
    assert "Never clinical evidence" in metadata["notice"]
    people = metadata["speakers"]
    assert [each["speaker"] for each in people] == [
        *("ann-mild", "ann-severe", "bob-mild", "bob-severe")
    ]
    drawn = disorders.draw(0, "bob", "severe")
    assert disorders.Disorder(**people[3]) == drawn


def test_same_request_again_is_left_and_another_refused(
    source, folder, tmp_path
):
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    metadata, _, made = recordings.alter(request(source), folder)
    assert not made
    assert metadata["num_utterances"] == 15
    with pytest.raises(FileExistsError, match="seed is 0 there and 3 here"):
        recordings.alter(request(source, seed=3), folder)
    # The same path with other lines is another request.
    moved = tmp_path / "all.jsonl"
    moved.write_text(source.read_text() + "\n")
    with pytest.raises(FileExistsError, match="manifest_sha256 is"):
        recordings.alter(request(moved), folder)
    assert before == {f: f.stat().st_mtime_ns for f in folder.rglob("*")}


def test_lines_without_a_split_give_one_manifest(source, tmp_path):
    said = [
        dataclasses.replace(each, split="")
        for each in _read(source)
        if each.speaker == "ann"
    ]
    manifest.write(tmp_path / "all.jsonl", said)
    target = tmp_path / "altered"
    recordings.alter(request(tmp_path / "all.jsonl"), target, num_processes=1)
    assert sorted(file.name for file in target.glob("*.jsonl")) == [
        "manifest.jsonl"
    ]


def test_nothing_usable_leaves_nothing(source, tmp_path):
    said = [each for each in _read(source) if each.utt_id == "long"]
    manifest.write(tmp_path / "all.jsonl", said)
    target = tmp_path / "altered"
    with pytest.raises(ValueError, match="no recording of .* can be altered"):
        recordings.alter(
            request(tmp_path / "all.jsonl", severities=("severe",)),
            target,
            num_processes=1,
        )
    assert not target.exists()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"severities": ("typical", "mild")}, "typical speech is what"),
        ({"severities": ("sever",)}, "Did you mean severe?"),
        ({"severities": ()}, "`severities` is empty"),
        ({"severities": ("mild", "mild")}, "has one twice"),
        ({"alterations": ("x",)}, "unknown alteration 'x'"),
        ({"alterations": ()}, "`alterations` is empty"),
    ],
)
def test_bad_requests_say_what_came(values, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        recordings.Request("all.jsonl", **values)


def test_a_speaker_id_that_grows_too_long_is_refused(source, tmp_path):
    said = [
        dataclasses.replace(each, speaker="a" * 124)
        for each in _read(source)
        if each.speaker == "ann"
    ]
    manifest.write(tmp_path / "all.jsonl", said)
    with pytest.raises(ValueError, match="the speaker id must be 1 to 128"):
        recordings.alter(request(tmp_path / "all.jsonl"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_package_is_told_before_anything_is_written(
    source, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match=r"'\.\[simulate\]'"):
        recordings.alter(request(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()
