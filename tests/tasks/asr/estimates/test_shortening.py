"""Making a short base and evaluating say what they take, before they load."""

import pytest

from params import bases
from tasks.asr.estimates import cost, machine, recognition, shortening
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
    told = capsys.readouterr()
    assert "warning: this takes about" in told.err
    assert "to make the short-context form" in told.out
    assert "in all" not in told.out


def test_the_time_of_a_job_and_of_its_base_are_added(
    tmp_path, monkeypatch, capsys
):
    path = tiny.recordings(tmp_path, ("ann",), 2)
    whisper_bases.small().save(tmp_path / "base")
    monkeypatch.setattr(shortening, "seconds", lambda *_: 24 * 60.0)
    shortening.check(
        str(tmp_path / "base"),
        [path],
        bases.ContextShortening(),
        training_seconds=18 * 60.0,
    )
    making, total = capsys.readouterr().out.splitlines()
    assert "24 minutes to make the short-context form" in making
    assert total == "in all about 42 minutes"


def test_what_a_base_cannot_take_costs_nothing(tmp_path):
    path = tmp_path / "train.jsonl"
    line = '{"audio_filepath": "a.wav", "text": "a", "speaker": "s", '
    path.write_text("".join(f'{line}"duration": {n}}}\n' for n in (1, 45)))
    dimensions = whisper_bases.dimensions(max_source_positions=1500)
    limit = cost.whisper_limit(dimensions)
    assert limit == 30
    assert cost.durations(str(path), limit) == [1.0]
    assert cost.durations(str(path)) == [1.0, 45.0]


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
    assert told.out.count("to recognise the test set") == 2
    assert told.err.count("A short base or a smaller one") == 2
