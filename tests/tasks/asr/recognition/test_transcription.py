"""Batches of speech, recognised by one model or by several."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tasks.asr.data import audio
from tasks.asr.evaluation import recordings
from tasks.asr.recognition import transcription
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases
from tpu.distribute import replicas as replicas_lib

SPEAKERS = ("ann", "bob", "cy")
BUCKETS = (0.75, 1.0, 1.5)


@pytest.fixture
def read_files(monkeypatch):
    """How often each recording was read."""
    counts, read = collections.Counter(), audio.read

    def counting(path, *args, **kwargs):
        counts[str(path)] += 1
        return read(path, *args, **kwargs)

    monkeypatch.setattr(audio, "read", counting)
    return counts


def alone(transcriber, data):
    """Each utterance's result in a batch of its own, with a static length."""
    found = {}
    for slot, speaker in data.items():
        for index, utterance in enumerate(speaker.utterances):
            samples = audio.read(utterance.audio_filepath, 16000)
            bucket = transcriber.base.bucket_samples(len(samples))
            padded = np.zeros((1, bucket), np.float32)
            padded[0, : len(samples)] = samples
            lengths = np.array([len(samples)])
            features, paddings = transcriber.base.features(padded, lengths)
            tokens, count, scores, _ = transcriber.base.decode(
                *transcriber.base.encode(features, paddings)
            )
            text = transcriber.base.detokenize(tokens, count).numpy()[0]
            found[slot, index] = (text.decode("utf-8", "replace"), scores[0])
    return found


@pytest.mark.parametrize("kind", ["conformer", "whisper"])
def test_every_length_has_the_same_texts_in_one_program(
    tmp_path, kind, read_files
):
    base = (
        tiny.base(buckets_seconds=BUCKETS)
        if kind == "conformer"
        else whisper_bases.small(audio_context="short")
    )
    data, _ = recordings.read(base, tiny.recordings(tmp_path, SPEAKERS, 7))
    transcriber = transcription.Transcriber(base)
    expected = alone(transcriber, data)
    read_files.clear()
    found = transcriber.transcribe(data)
    assert found.keys() == expected.keys() and len(found) == 21
    for place, (text, score) in expected.items():
        assert found[place].text == text
        np.testing.assert_allclose(found[place].score, score, rtol=1e-4)
    assert transcriber.tracing_count == 1
    assert set(read_files.values()) == {1} and len(read_files) == 21


def test_models_of_different_lengths_hear_one_reading(tmp_path, read_files):
    bases = [tiny.base(3, BUCKETS), tiny.base(4, (2.0,))]
    data, _ = recordings.read(bases[0], tiny.recordings(tmp_path, SPEAKERS, 3))
    transcribers = [transcription.Transcriber(base) for base in bases]
    apart = [each.transcribe(data) for each in transcribers]
    read_files.clear()
    together = transcription.transcribe(transcribers, data)
    assert set(read_files.values()) == {1} and len(read_files) == 9
    for one, other in zip(apart, together, strict=True):
        assert one.keys() == other.keys()
        for place, each in one.items():
            assert other[place].text == each.text
            np.testing.assert_allclose(
                other[place].score, each.score, rtol=1e-5
            )
    assert apart[0] != apart[1]


def test_replicas_share_the_speech(tmp_path, monkeypatch):
    monkeypatch.setattr(transcription, "ROWS", 2)
    base = tiny.base(3, BUCKETS)
    data, _ = recordings.read(base, tiny.recordings(tmp_path, SPEAKERS, 3))
    plain = transcription.Transcriber(base).transcribe(data)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    replicas = replicas_lib.Replicas(strategy)
    with replicas.scope():
        base = tiny.base(3, BUCKETS)
    found = transcription.Transcriber(base, replicas=replicas).transcribe(data)
    assert {place: each.text for place, each in found.items()} == {
        place: each.text for place, each in plain.items()
    }
