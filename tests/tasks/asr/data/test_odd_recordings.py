"""Every path reads the same recordings, and refuses the same, with reasons."""

import concurrent.futures
import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf

from tasks.asr.data import audio, inspection, rejections
from tasks.serving import client, errors, recordings, transcribing
from tasks.serving.exports import statuses
from tests import tiny
from tests.tasks.asr.data import odd_recordings

MAKERS = {
    **odd_recordings.GOOD,
    **{
        name: write
        for table in (odd_recordings.BAD, odd_recordings.UNHEARD)
        for name, (write, _) in table.items()
    },
}
REFUSED = {
    name: reason
    for table in (odd_recordings.BAD, odd_recordings.UNHEARD)
    for name, (_, reason) in table.items()
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for name, write in MAKERS.items():
        write(str(folder / name))
    lines = [
        {"audio_filepath": name, "text": "turn on", "speaker": "ann"}
        | {"utt_id": name}
        for name in MAKERS
    ]
    text = "\n".join(map(json.dumps, lines))
    (folder / "all.jsonl").write_text(text)
    return folder


def reasons(left_out):
    return {
        each.utt_id: f"{each.reason}: {each.detail}"
        for each in left_out
        if each.utt_id in MAKERS
    }


@pytest.mark.parametrize("name", odd_recordings.GOOD)
def test_what_people_record_is_read_to_its_end(folder, name):
    path = folder / name
    for source in (str(path), path.read_bytes()):
        samples = audio.read(source, 16000, max_seconds=30.0)
        assert len(samples) / 16000 == pytest.approx(2.0, abs=0.15)
        # All of it: the loud half, too.
        assert np.abs(samples[-8000:-4000]).max() > 0.2
    assert audio.seconds(str(path)) == pytest.approx(2.0, abs=0.15)


def test_import_and_split_name_what_is_not_a_whole_recording(folder):
    usable, left_out = inspection.read(folder / "all.jsonl")
    found = reasons(left_out)
    assert found.keys() == odd_recordings.BAD.keys()
    assert len(usable) == len(MAKERS) - len(found)
    for name, (_, reason) in odd_recordings.BAD.items():
        with pytest.raises(rejections.UnusableError, match=reason):
            audio.seconds(str(folder / name))


def test_training_evaluation_and_enrolment_leave_out_the_same(folder):
    decoding = inspection.Decoding(30.0)
    usable, left_out = inspection.read(folder / "all.jsonl", decoding=decoding)
    assert {each.utt_id for each in usable} == odd_recordings.GOOD.keys()
    assert reasons(left_out).keys() == REFUSED.keys()


class Recorder:
    """A recogniser that keeps what it is sent."""

    sample_rate = 16000

    def __init__(self):
        self.lengths = []

    def submit(self, samples, submodel_id, language):
        self.lengths.append(len(samples))
        done = concurrent.futures.Future()
        done.set_result(client.Transcript("yes", 0.0, "", "base"))
        return done


def test_transcribing_takes_and_refuses_the_same(folder):
    recogniser = Recorder()
    paths = [str(folder / name) for name in MAKERS]
    found = transcribing.transcribe_files(recogniser, paths, None)
    errors = {
        path.rpartition("/")[2]: error for path, text, error in found if error
    }
    assert errors.keys() == REFUSED.keys()
    assert len(recogniser.lengths) == len(odd_recordings.GOOD)


def test_a_server_takes_and_refuses_the_same(folder):
    refused = {}
    for name in MAKERS:
        data = (folder / name).read_bytes()
        try:
            samples = recordings.decode(data, 16000, 30 * 16000)
        except errors.ServingError as error:
            refused[name] = str(error)
        else:
            assert len(samples) == pytest.approx(32000, abs=2400)
    assert refused.keys() == REFUSED.keys()
    for name, message in refused.items():
        assert re.search(REFUSED[name], message)


@pytest.mark.parametrize("source", ["path", "bytes"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong(folder, name, source):
    path = folder / name
    with pytest.raises(rejections.UnusableError, match=REFUSED[name]) as caught:
        audio.read(str(path) if source == "path" else path.read_bytes(), 16000)
    shown = str(path) if source == "path" else "the recording"
    assert caught.value.where == shown


def test_an_export_judges_samples_as_the_reader_does():
    base = tiny.base()
    sound = odd_recordings.sound(16000)[-8000:]
    cases = {
        "OK": sound,
        "silent": sound * 0 + 0.1,
        "too short": sound[:159],
        "not finite": np.append(sound[1:], np.inf),
        "in [-1, 1]": sound * 100,
    }
    rows = np.zeros((len(cases), 8000), np.float32)
    for row, samples in zip(rows, cases.values(), strict=True):
        row[: len(samples)] = samples
    lengths = tf.constant([len(samples) for samples in cases.values()])
    found = statuses.of_audio(base, tf.constant(rows), lengths).numpy()
    for expected, status in zip(cases, found, strict=True):
        assert expected in status.decode()


def test_a_refused_recording_does_not_stop_the_next(folder):
    paths = [str(folder / "one_hertz.wav"), str(folder / "phone.m4a")]
    found = list(transcribing.transcribe_files(Recorder(), paths, None))
    assert [bool(error) for _, _, error in found] == [True, False]


def test_a_recording_of_hours_is_refused_before_it_fills_the_memory(tmp_path):
    path = str(tmp_path / "long.wav")
    odd_recordings.wav(2 * 16000 * 3600)(path)
    # The rest takes no room on the disk.
    os.truncate(path, 44 + 2 * 16000 * 3600)
    (result,) = transcribing.transcribe_files(Recorder(), [path], None)
    assert "recording is too long" in result[2]
    assert "tasks.split_recordings" in result[2]
