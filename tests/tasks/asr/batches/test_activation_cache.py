"""Kept activations are those of the recording as it is, and fit on the disk."""

import collections
import dataclasses
import os
import shutil

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tasks.asr.batches import activation_cache, minibatch_schedule
from tasks.asr.data import inspection, preparation
from tests import tiny

BUCKET = 16000
MODEL_DIM = 3
FRAME = 160


class Loader:
    """Loads nothing: what is tested is the activations."""

    sample_rate = 16000
    shape = (1, 2)

    def __init__(self, speakers):
        self.speakers = speakers
        self.lost = {}

    def batch(self, group, with_audio):
        del group, with_audio
        return {}


class Lower:
    """Frames' means as activations; counts its calls."""

    calls = 0

    def __call__(self, audio, lengths):
        self.calls += 1
        frames = tf.reshape(audio, [audio.shape[0], -1, FRAME])
        means = tf.reduce_mean(tf.abs(frames), axis=-1, keepdims=True)
        paddings = 1.0 - tf.sequence_mask(
            lengths // FRAME, frames.shape[1], tf.float32
        )
        return tf.repeat(means, MODEL_DIM, axis=-1), paddings


@pytest.fixture
def speakers(tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 3)
    utterances, _ = inspection.read(path)
    utterances = [dataclasses.replace(u, tokens=(1,)) for u in utterances]
    return {0: preparation.TokenizedUtterances(tuple(utterances))}


def _group(*indices):
    minibatch = minibatch_schedule.Minibatch(
        0, "ann", 0, indices, (1.0,) * len(indices), BUCKET
    )
    return minibatch_schedule.Group(BUCKET, ((0, minibatch),))


def _cache(tmp_path, speakers, lower):
    return activation_cache.ActivationCache(
        str(tmp_path / "activations"),
        lower,
        Loader(speakers),
        MODEL_DIM,
    )


def _activations(tmp_path, speakers, lower, *indices):
    cache = _cache(tmp_path, speakers, lower)
    cache.compute([_group(*indices)])
    return cache.batch(_group(*indices))["activations"][0]


def test_what_was_computed_is_not_computed_again(tmp_path, speakers):
    lower = Lower()
    first = _activations(tmp_path, speakers, lower, 0, 1)
    again = _activations(tmp_path, speakers, lower, 1, 0)
    np.testing.assert_array_equal(first, again[::-1])
    assert lower.calls == 1 and np.any(first[0] != first[1])
    _activations(tmp_path, speakers, lower, 2)
    assert lower.calls == 2


@pytest.mark.parametrize("keeps", ["size", "time"])
def test_a_recording_made_again_is_another_one(tmp_path, speakers, keeps):
    lower = Lower()
    before = _activations(tmp_path, speakers, lower, 0, 1)
    path = speakers[0].utterances[0].audio_filepath
    samples, rate = soundfile.read(path)
    stat = os.stat(path)
    if keeps == "size":
        soundfile.write(path, 0.5 * samples, rate)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
        assert os.stat(path).st_size == stat.st_size
    else:
        soundfile.write(path, np.tile(0.5 * samples, 2), rate)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = _activations(tmp_path, speakers, lower, 0, 1)
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(after[0], 0.5 * before[0], atol=1e-4)


def _kept(tmp_path):
    return sorted((tmp_path / "activations").iterdir())


@pytest.mark.parametrize("how", ["altered", "cut", "emptied", "gone"])
def test_a_file_that_was_damaged_is_noticed_and_made_again(
    tmp_path, speakers, capsys, how
):
    cache = _cache(tmp_path, speakers, Lower())
    cache.compute([_group(0, 1)])
    before = cache.batch(_group(0, 1))["activations"]
    path = _kept(tmp_path)[0]
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(
            {
                "altered": content[:middle] + flipped + content[middle + 1 :],
                "cut": content[:-400],
                "emptied": b"",
            }[how]
        )
    again = cache.batch(_group(0, 1))["activations"]
    np.testing.assert_array_equal(again, before)
    assert path.read_bytes() == content
    assert f"{path}: damaged; computed again" in capsys.readouterr().err


def test_an_utterance_has_a_row_of_its_own_whatever_is_computed_beside_it(
    tmp_path, speakers
):
    def rows(name, *groups):
        seen = {}

        def lower(audio, lengths):
            for row, samples in enumerate(audio.numpy()):
                if samples.any():
                    seen[samples.tobytes()] = row
            return Lower()(audio, lengths)

        cache = activation_cache.ActivationCache(
            str(tmp_path / name), lower, Loader(speakers), MODEL_DIM
        )
        cache.compute(_group(*group) for group in groups)
        return seen

    together = rows("together", (0, 1, 2))
    assert together == rows("reversed", (2, 1, 0))
    assert together == rows("one", (0,)) | rows("two", (2,), (1,))
    assert len(together) == 3


def test_a_recording_that_is_gone_leaves_its_speaker_out(tmp_path, speakers):
    cache = _cache(tmp_path, speakers, Lower())
    os.remove(speakers[0].utterances[1].audio_filepath)
    cache.compute([_group(0, 1)])
    batch = cache.batch(_group(0, 1))
    assert not np.any(batch["activations"])
    assert "audio file is missing" in cache._loader.lost[0]


def test_a_disk_that_is_too_small_is_said_before_it_is_full(
    tmp_path, speakers, monkeypatch
):
    usage = collections.namedtuple("usage", "total used free")
    needed = 3 * (BUCKET // FRAME) * (MODEL_DIM + 1) * 4
    free = activation_cache.SPARE_BYTES + needed - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, free))
    with pytest.raises(OSError, match="activations: not enough space.*make"):
        _activations(tmp_path, speakers, Lower(), 0, 1, 2)
    assert os.listdir(tmp_path / "activations") == []
    free += 1
    cache = _cache(tmp_path, speakers, Lower())
    cache.compute([_group(0, 1, 2)])
    assert len(os.listdir(tmp_path / "activations")) == 3
