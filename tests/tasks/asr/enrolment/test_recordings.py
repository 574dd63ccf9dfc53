"""The recordings of an enrolment, and those that are left out."""

import json

import numpy as np
import pytest
import soundfile

from tasks.asr.enrolment import recordings
from tests import tiny


@pytest.fixture(scope="module")
def base():
    return tiny.base()


def test_an_utterance_too_short_is_left_out_with_its_length(base, tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    tone = 0.1 * np.sin(np.arange(3200))
    soundfile.write(tmp_path / "short.wav", tone, 16000)
    line = {"audio_filepath": "short.wav", "text": "on", "speaker": "ann"}
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
    train, dev, left_out = recordings.read(
        base, tiny.experiment(), path, "", [], 0.3
    )
    assert len(train["ann"].utterances) == 2 and not dev
    assert "0.20 s, at least 0.3 s" in left_out.describe()
    assert "speaker has no usable utterance" not in left_out.by_reason()
    with open(path, "a") as file:
        file.write(json.dumps(line | {"speaker": "cy", "utt_id": "x"}) + "\n")
    _, _, left_out = recordings.read(
        base, tiny.experiment(), path, "", ["ann"], 0.3
    )
    (lost,) = left_out.by_reason()["speaker has no usable utterance"]
    assert lost.utt_id == "cy"


def test_a_speaker_with_nothing_usable_is_named(base, tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    with pytest.raises(ValueError, match="no usable utterance of zoe"):
        recordings.read(base, tiny.experiment(), path, "", ["ann", "zoe"], 0.3)
    with pytest.raises(ValueError, match="too short to learn from"):
        recordings.read(base, tiny.experiment(), path, "", [], 60.0)


def test_a_speaker_without_anything_usable_is_named(base, tmp_path):
    path = tiny.recordings(tmp_path, ("ann", "bob"), 2)
    for place in tmp_path.glob("train_1_*.wav"):
        soundfile.write(place, np.zeros(16000), 16000)
    found, _, left_out = recordings.read(
        base, tiny.experiment(), path, "", [], 0.0
    )
    assert list(found) == ["ann"]
    assert "speaker has no usable utterance" in left_out.by_reason()
    assert "bob" in left_out.describe()


def test_a_recording_to_learn_from_judges_nothing(base, tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    with open(path) as file:
        first = json.loads(file.readline())
    dev = str(tmp_path / "dev.jsonl")
    with open(dev, "w") as file:
        own = first | {"duration": 0.5, "utt_id": "own"}
        other = own | {"offset": 0.5, "utt_id": "more"}
        for line in (own, other):
            file.write(json.dumps(line) + "\n")
    learned = str(tmp_path / "learned.jsonl")
    with open(learned, "w") as file:
        file.write(json.dumps(first | {"duration": 0.5}) + "\n")
    with pytest.raises(ValueError, match="to learn from: own;"):
        recordings.read(base, tiny.experiment(), learned, dev, [], 0.3)
    with open(dev, "w") as file:
        file.write(json.dumps(other) + "\n")
    _, found, _ = recordings.read(
        base, tiny.experiment(), learned, dev, [], 0.3
    )
    assert [u.utt_id for u in found["ann"].utterances] == ["more"]
    with pytest.raises(ValueError, match="to learn from: more;"):
        recordings.read(base, tiny.experiment(), path, dev, [], 0.3)
