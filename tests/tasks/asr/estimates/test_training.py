"""A job that does not fit is refused before it loads, with what would fit."""

import dataclasses
import json
import re

import pytest

from lingvo_like import hyperparams
from params import bases, conformer, kinds, registry
from tasks.asr.batches import minibatch_schedule
from tasks.asr.estimates import cost, machine, pace, training
from tasks.compilation import untrained

GIBIBYTE = 2**30


def job(name="whisper.Stacked", size="tiny.en", speakers=4, **train):
    experiment = registry.get(name)
    experiment = dataclasses.replace(
        experiment, train=dataclasses.replace(experiment.train, **train)
    )
    durations = {f"s{i}": [3.0] * 20 for i in range(speakers)}
    speech = training.Speech(durations, letters=60, mean_letters=40.0)
    dimensions = untrained.whisper_dimensions(size)
    return training.Job(experiment, dimensions, speech)


def steps(job):
    """The seconds of a job's steps, which compile once."""
    return job.seconds(1e11) - cost.STEPS_COMPILING_SECONDS


@pytest.fixture
def free(monkeypatch):
    def set_free(num_bytes):
        monkeypatch.setattr(machine, "free_bytes", lambda: num_bytes)
        monkeypatch.setattr(machine, "used_bytes", lambda: 0)

    return set_free


def test_whisper_at_30_seconds_takes_what_was_measured():
    """14.6 GiB at their peak were 32 utterances on tiny.en, with adapters.

    Those begin after the first block; what is in it needs its gradients too.
    """
    whole = job()
    adapters = dataclasses.replace(
        whole.experiment, adapter=kinds.Adapter(), lora=kinds.Lora()
    )
    found = dataclasses.replace(whole, experiment=adapters).num_bytes()
    assert found == pytest.approx(14.6 * GIBIBYTE, rel=0.15)
    # Three blocks of four, and all four.
    assert found < whole.num_bytes() < 4 / 3 * found


def test_memory_and_time_grow_with_all_that_makes_a_step_larger():
    rate = 1e11
    least = job("whisper.ShortStacked", speakers_per_step=1)
    for larger in (
        job("whisper.ShortStacked", speakers_per_step=2),
        job("whisper.ShortStacked", "base.en", speakers_per_step=1),
        job(speakers_per_step=1),
    ):
        assert larger.num_bytes() > least.num_bytes()
    assert job().seconds(rate) > 5 * least.seconds(rate)
    twice = job("whisper.ShortStacked", num_steps=400)
    once = job("whisper.ShortStacked")
    assert steps(twice) == pytest.approx(2 * steps(once))


def test_what_does_not_fit_is_refused_with_settings_that_do(free, capsys):
    free(8 * GIBIBYTE)
    with pytest.raises(ValueError, match="8.0 GiB are free") as refused:
        training.check(job())
    text = str(refused.value)
    assert "--nocheck_memory" in text
    assert "--experiment=whisper.ShortStacked" in text
    settings = re.findall(r"--set=(train\.\S+)", text)
    fitting = hyperparams.override(job().experiment, settings)
    training.check(dataclasses.replace(job(), experiment=fitting))
    training.check(job("whisper.ShortStacked"))
    # The override warns, and goes on.
    training.check(job(), check_memory=False)
    assert "warning: this takes about" in capsys.readouterr().err


def test_a_smaller_minibatch_comes_after_fewer_speakers(free):
    free(2.2 * GIBIBYTE)
    with pytest.raises(ValueError) as refused:
        training.check(job())
    assert "speakers_per_step=1" in str(refused.value)
    assert "utterances_per_speaker=" in str(refused.value)
    free(GIBIBYTE // 2)
    with pytest.raises(ValueError, match="take a smaller base model"):
        training.check(job())


def test_a_long_job_says_what_is_quicker(monkeypatch, free, capsys):
    free(64 * GIBIBYTE)
    monkeypatch.setattr(machine, "products_per_second", lambda: 1e10)
    training.check(job())
    told = capsys.readouterr()
    assert "estimate: about" in told.out
    assert re.search(r" hours to train$", told.out, re.MULTILINE)
    assert "whisper.ShortStacked" in told.err and "num_steps=50" in told.err
    # How much of a run is done, nobody knows yet.
    training.check(job(), is_continued=True)
    told = capsys.readouterr()
    assert "hours to train, all of it, less what is done" in told.out
    assert not told.err


def test_a_job_is_read_from_its_manifest_alone(tmp_path):
    lines = [
        {
            "audio_filepath": f"{i}.wav",
            "text": "turn on the light",
            "speaker": f"s{i % 2}",
            "duration": 1.0 + i,
        }
        for i in range(5)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    experiment = conformer.Tiny()
    found = training.job(experiment, "nowhere", str(path), has_dev=True)
    # What is too long for the largest bucket is left out of the job.
    assert found.speech.durations == {"s0": [1.0, 3.0], "s1": [2.0, 4.0]}
    longest = max(experiment.base.buckets_seconds)
    assert (found.speech.letters, found.speech.mean_letters) == (17, 17.0)
    shapes = found.shapes(found.speech.longest, found.speech.letters)
    assert shapes.frames >= 25 * longest
    assert found.has_dev


def test_the_pace_is_told_at_the_first_update_that_compiles_nothing():
    schedule = minibatch_schedule.MinibatchSchedule(
        0, "ann", [16000] * 4, lambda _: 32000, 2, seed=0
    )

    def call(bucket):
        minibatch = dataclasses.replace(schedule.minibatch(0), bucket=bucket)
        return [minibatch_schedule.Group(bucket, ((0, minibatch),))]

    measured = pace.Pace()
    measured.begin()
    told = [measured.passed(call(b)) for b in (32000, 48000, 32000, 32000)]
    assert told == [False, False, True, False]
    text = measured.describe([(schedule, 100)])
    assert "GiB of memory at most so far" in text
    assert "to the end" in text


def test_a_stack_that_does_not_fit_is_told_of_turns(free):
    many = job("whisper.ShortStacked", speakers=20000)
    free(8 * GIBIBYTE)
    with pytest.raises(ValueError, match="train.resident_speakers=1024"):
        training.check(many)
    # More turns than speakers are all of them at once.
    turns = job("whisper.ShortStacked", resident_speakers=1024)
    assert turns.num_bytes() == job("whisper.ShortStacked").num_bytes()


def test_a_space_takes_its_basis_whoever_trains_in_it():
    few, many = (
        job("whisper.ShortEmbedding16", speakers=number)
        for number in (16, 20000)
    )
    assert few.num_bytes() == many.num_bytes()


def test_the_time_is_that_of_the_speakers_who_train():
    many = job(speakers=40)
    some = dataclasses.replace(many, only=("s1", "s2"))
    assert steps(some) < steps(many) / 5
    # All have a row.
    assert some.num_bytes() == many.num_bytes()


def test_replicas_of_other_machines_take_their_own_memory():
    alone = job(speakers=8)
    here = dataclasses.replace(alone, num_replicas=2, num_local=2)
    elsewhere = dataclasses.replace(alone, num_replicas=2)
    assert elsewhere.num_bytes() == alone.num_bytes() < here.num_bytes()
    assert elsewhere.seconds(1e11) < alone.seconds(1e11)


def test_calls_of_many_steps_take_the_memory_of_their_batches():
    many = job(steps_per_call=20)
    assert many.num_bytes() > job().num_bytes() + 4 * GIBIBYTE


def test_every_experiment_has_an_estimate():
    for name in registry.EXPERIMENTS:
        found = job(name)
        if isinstance(found.experiment.base, bases.ConformerCtc):
            found = dataclasses.replace(found, dimensions=None)
        assert found.num_bytes() > 2**29


def test_cohorts_take_the_time_of_their_own_updates(tmp_path):
    # One speaker at a time: a step of a cohort costs what a speaker's costs.
    once = job("whisper.ShortStacked", speakers=2)
    own = 2 * once.experiment.train.num_steps
    beside = dataclasses.replace(once, num_cohorts=3)
    more = 3 * once.experiment.cohort.num_steps
    assert steps(beside) == pytest.approx(steps(once) * (own + more) / own)
    path = tmp_path / "train.jsonl"
    line = {"audio_filepath": "a.wav", "text": "on", "duration": 1.0}
    path.write_text(
        "".join(
            json.dumps(
                line | {"speaker": f"s{i}", "language": "es en".split()[i % 2]}
            )
            + "\n"
            for i in range(4)
        )
    )
    for by, count in (("", 0), ("all", 1), ("language", 2)):
        found = training.job(
            conformer.Tiny(), "nowhere", str(path), cohorts_by=by
        )
        assert found.num_cohorts == count
