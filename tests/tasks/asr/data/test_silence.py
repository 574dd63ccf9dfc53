"""Trimming leaves out the silence around an utterance, and nothing else."""

import builtins
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tasks.asr.data import audio, inspection, silence

RATE = 16000


def tone(seconds, scale=0.3):
    time = np.arange(int(seconds * RATE)) / RATE
    return scale * np.sin(2 * np.pi * 300 * time)


def room(seconds, scale=0.0002):
    return np.random.default_rng(0).normal(0, scale, int(seconds * RATE))


@pytest.fixture(scope="module")
def trim():
    pytest.importorskip("tensorflow_io")
    return silence.trimmer()


@pytest.mark.parametrize("scale", [1.0, 0.05], ids=["loud", "quiet"])
@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_silence_before_and_after_goes_but_for_a_margin(trim, scale, constant):
    samples = scale * np.concatenate([room(1.0), tone(1.0), room(0.5)])
    start, stop = trim((samples + constant).astype(np.float32), RATE)
    assert start == pytest.approx(0.9 * RATE, abs=20)
    assert stop == pytest.approx(2.1 * RATE, abs=20)


def test_pauses_and_soft_ends_stay(trim):
    parts = [tone(0.5, 0.01), tone(0.5), room(1.0), tone(0.5, 0.01)]
    samples = np.concatenate(parts).astype(np.float32)
    assert trim(samples, RATE) == (0, len(samples))


@pytest.mark.parametrize(
    "samples",
    [np.zeros(100), np.full(100, 0.1), np.eye(1, 9000, 4000)[0], np.ones(1)],
    ids=["zeros", "constant", "click", "one sample"],
)
def test_something_always_stays(trim, samples):
    start, stop = trim(samples.astype(np.float32), RATE)
    assert 0 <= start < stop <= len(samples)


def test_a_manifest_is_read_without_the_silence(trim, tmp_path):
    samples = np.concatenate([room(1.0), tone(1.0), room(0.5)])
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    line = {"audio_filepath": "a.wav", "text": "on", "speaker": "ann"}
    path = tmp_path / "all.jsonl"
    path.write_text(json.dumps({**line, "offset": 0.25}) + "\n")
    ((whole,), _), ((cut,), _) = (
        inspection.read(path, decoding=inspection.Decoding(9.0, trim_silence))
        for trim_silence in (False, True)
    )
    assert (whole.offset, whole.duration) == (0.25, 2.25)
    assert cut.offset == pytest.approx(0.9, abs=0.01)
    assert cut.duration == pytest.approx(1.2, abs=0.01)
    found = audio.read(cut.audio_filepath, RATE, cut.offset, cut.duration)
    start = round(cut.offset * RATE)
    np.testing.assert_array_equal(
        found, audio.read(str(tmp_path / "a.wav"), RATE)[start:][: len(found)]
    )


def test_a_missing_package_is_named(monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments):
        if name.startswith("tensorflow_io"):
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[io\]'"):
        silence.trimmer()


@pytest.mark.slow
def test_the_packages_warnings_stay_away():
    pytest.importorskip("tensorflow_io")
    program = "from tasks.asr.data import silence; silence.trimmer()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "UserWarning" not in done.stderr
    assert "libtensorflow_io" not in done.stderr
