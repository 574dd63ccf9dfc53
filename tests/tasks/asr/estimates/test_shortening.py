"""Making a short base and evaluating say what they take, before they load."""

import pytest

from params import bases
from tasks.asr.estimates import machine, recognition, shortening
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

RATE = 1e11


def test_its_time_grows_with_steps_and_recordings():
    dimensions = whisper_bases.dimensions()
    values = bases.ContextShortening(num_steps=100)
    seconds = shortening.seconds(dimensions, [3.0] * 20, values, RATE)
    twice = bases.ContextShortening(num_steps=200)
    assert shortening.seconds(dimensions, [3.0] * 20, twice, RATE) > seconds
    more = shortening.seconds(dimensions, [3.0] * 200, values, RATE)
    assert more > seconds
    some = bases.ContextShortening(num_steps=100, max_utterances=20)
    fewer = shortening.seconds(dimensions, [3.0] * 200, some, RATE)
    assert fewer == pytest.approx(seconds)


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch, capsys):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    whisper_bases.small().save(tmp_path / "base")
    monkeypatch.setattr(machine, "free_bytes", lambda: 2**25)
    monkeypatch.setattr(machine, "used_bytes", lambda: 0)
    values = bases.ContextShortening()
    base = str(tmp_path / "base")
    with pytest.raises(ValueError, match="--set=utterances_per_step=2"):
        shortening.check(base, [path], values)
    shortening.check(base, [path], values, check_memory=False)
    assert "warning: this takes about" in capsys.readouterr().err


def test_an_evaluation_warns_of_what_does_not_fit(
    tmp_path, monkeypatch, capsys
):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    whisper_bases.small().save(tmp_path / "base")
    monkeypatch.setattr(machine, "free_bytes", lambda: 2**25)
    monkeypatch.setattr(machine, "used_bytes", lambda: 0)
    for context in ("full", "short"):
        values = bases.Whisper(audio_context=context)
        recognition.check(values, str(tmp_path / "base"), path, 16)
    told = capsys.readouterr()
    assert told.out.count("estimate: ") == 2
    assert told.err.count("A short base or a smaller one") == 2
