"""Simulated corpora on disk."""

import json
import os

import pytest
import soundfile

from tasks.asr.data import inspection, splits
from tasks.asr.simulator import corpus, synthesis, voices
from tests.tasks.asr.simulator import written

SMALL = {
    "num_speakers": 4,
    "utterances_per_speaker": 6,
    "dev_utterances": 1,
    "test_utterances": 2,
}


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip(
        "espeakng_loader", reason="the optional wheel espeakng-loader"
    )


@pytest.fixture(scope="module")
def folder(engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "made" / "here"
    corpus.simulate(corpus.Request(**SMALL), path, num_processes=2)
    return path


def test_bytes_do_not_depend_on_the_number_of_processes(folder, tmp_path):
    again = tmp_path / "again"
    corpus.simulate(corpus.Request(**SMALL), again, num_processes=1)
    assert written.digests(again) == written.digests(folder)
    assert len(written.digests(folder)) == 24 + 5


def test_another_seed_gives_other_audio(folder, tmp_path):
    request = corpus.Request(**SMALL | {"num_speakers": 1}, seed=1)
    corpus.simulate(request, tmp_path / "other", num_processes=1)
    audio = [
        {
            value
            for name, value in written.digests(path).items()
            if "audio/" in name
        }
        for path in (folder, tmp_path / "other")
    ]
    assert not audio[0] & audio[1]


def test_every_line_says_simulated_and_names_real_audio(folder):
    everything = written.lines(folder / "manifest.jsonl")
    assert len({line["utt_id"] for line in everything}) == 24
    for line in everything:
        assert line["simulated"] is True
        assert line["severity"] in voices.SEVERITIES
        assert not os.path.isabs(line["audio_filepath"])
        info = soundfile.info(folder / line["audio_filepath"])
        assert (info.samplerate, info.channels) == (16000, 1)
        assert info.duration == pytest.approx(line["duration"], abs=1e-3)


def test_manifests_are_read_by_the_project_without_a_rejection(folder):
    for name, count in [("train", 12), ("dev", 4), ("test", 8)]:
        utterances, left_out = inspection.read(
            str(folder / f"{name}.jsonl"),
            strict=True,
            decoding=inspection.Decoding(30.0),
        )
        assert len(utterances) == count
        assert not left_out
        assert {each.split for each in utterances} == {name}


def test_dev_and_test_phrases_are_unseen_in_train(folder):
    for speaker in ("SIM000", "SIM003"):
        phrases = [
            {
                splits.phrase_key(line["text"])
                for line in written.lines(folder / f"{split}.jsonl")
                if line["speaker"] == speaker
            }
            for split in splits.SPLITS
        ]
        assert [len(each) for each in phrases] == [3, 1, 2]
        assert len(set.union(*phrases)) == 6


def test_metadata_holds_speakers_and_their_homophones(folder):
    metadata = json.loads((folder / corpus.METADATA).read_text())
    assert metadata["simulated"] is True
    assert "Never clinical evidence" in metadata["notice"]
    assert metadata["seconds"] == pytest.approx(
        sum(
            line["duration"]
            for line in written.lines(folder / "manifest.jsonl")
        ),
        abs=0.01,
    )
    speakers = metadata["speakers"]
    assert [each["severity"] for each in speakers] == list(voices.SEVERITIES)
    typical = speakers[0]["homophones"]
    assert typical["possible_words"] == typical["always_phrases"] == []
    assert typical["lowest_error_rates"]["test"]["word_error_rate"] == 0
    assert speakers[3]["processes"]


def test_same_request_again_is_left_as_it_is(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    metadata, made = corpus.simulate(corpus.Request(**SMALL), folder)
    assert not made
    assert metadata["num_utterances"] == 24
    assert before == {f: f.stat().st_mtime_ns for f in folder.rglob("*")}


def test_another_request_does_not_overwrite(folder):
    before = written.digests(folder)
    with pytest.raises(FileExistsError, match="seed is 0 there and 3 here"):
        corpus.simulate(corpus.Request(**SMALL, seed=3), folder)
    assert written.digests(folder) == before


def test_failure_leaves_nothing_behind(engine, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(corpus.corpus_folder, "write_manifests", fail)
    with pytest.raises(OSError, match="the disk is full"):
        corpus.simulate(
            corpus.Request(
                num_speakers=1, utterances_per_speaker=1, split=False
            ),
            tmp_path / "corpus",
            num_processes=1,
        )
    assert not list(tmp_path.iterdir())


def test_speakers_do_not_depend_on_how_many_there_are():
    few, many = (
        corpus.Request(num_speakers=number).speakers() for number in (3, 99)
    )
    assert many[:3] == few


def test_disjoint_voice_ranges_share_no_voice():
    halves = [
        {speaker.voice for speaker in request.speakers()}
        for request in (
            corpus.Request(num_speakers=60, first_voice=0, last_voice=22),
            corpus.Request(num_speakers=60, first_voice=22, last_voice=44),
        )
    ]
    assert [len(half) for half in halves] == [22, 22]
    assert not halves[0] & halves[1]


def test_without_split_there_is_one_manifest(engine, tmp_path):
    request = corpus.Request(
        num_speakers=1, utterances_per_speaker=2, split=False
    )
    corpus.simulate(request, tmp_path / "corpus", num_processes=1)
    assert sorted(file.name for file in (tmp_path / "corpus").iterdir()) == [
        "audio",
        "manifest.jsonl",
        "simulation.json",
    ]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_speakers": 0}, "`num_speakers` must be at least 1"),
        ({"utterances_per_speaker": 0}, "must be at least 1. Received: 0"),
        ({"dev_utterances": -1}, "`dev_utterances` must be at least 0"),
        ({"utterances_per_speaker": 20}, "leave none to train on"),
        ({"severities": ("sever",)}, "Did you mean severe?"),
        ({"severities": ()}, "`severities` is empty"),
        ({"processes": ("gliding", "x")}, "unknown process 'x'"),
        ({"first_voice": 3, "last_voice": 3}, "Received: 3:3"),
        ({"last_voice": 99}, "voices go from 0 up to 44"),
        ({"speaker_prefix": "../a"}, "letters and digits"),
    ],
)
def test_bad_requests_say_what_came(values, message):
    with pytest.raises(ValueError) as error:
        corpus.Request(**values)
    assert message in str(error.value)


def test_missing_engine_is_told_before_anything_is_written(
    tmp_path, monkeypatch
):
    def missing():
        raise ValueError("install it")

    monkeypatch.setattr(synthesis, "engine", missing)
    with pytest.raises(ValueError, match="install it"):
        corpus.simulate(corpus.Request(), tmp_path / "corpus")
    assert not list(tmp_path.iterdir())
