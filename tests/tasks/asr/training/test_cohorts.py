"""A cohort's Submodel is trained first, and its speakers start from it."""

import json
import os
import shutil

import numpy as np
import pytest

from lingvo_like import hyperparams
from lingvo_like.space import file as space_file
from lingvo_like.store import ids
from lingvo_like.submodel import file as submodel_file, heard
from params import registry
from tasks.asr.data import manifest, preparation
from tasks.asr.enrolment import baselines
from tasks.asr.training import (
    cohorts,
    model_directory,
    preemption,
    program as training_program,
    run_results,
    trainer,
    withdrawal,
)
from tests import tiny
from tests.tasks.asr.training import (
    compiled_once,
    test_dev_speech,
    test_program,
    tiny_jobs,
)

LANGUAGES = {"ann": "es", "bob": "es", "cy": "en", "dee": "en", "eve": "fr"}
COHORT = "cohort.num_steps=4"
contents, loaded = tiny_jobs.contents, tiny_jobs.loaded


@pytest.fixture(scope="module", autouse=True)
def _compiled_once():
    with compiled_once.sharing():
        yield


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Speech of five people, each with a language; of three in `three`."""
    folder = tmp_path_factory.mktemp("speech")
    for data, speakers in (
        ("", tuple(LANGUAGES)),
        ("three", ("ann", "bob", "cy")),
    ):
        for name, seed, count in (("train", 0, 4), ("dev", 1, 2)):
            tiny.recordings(folder / data, speakers, count, seed, name)
            path = folder / data / f"{name}.jsonl"
            lines = test_program.lines_of(path)
            test_program.write_lines(
                path,
                [x | {"language": LANGUAGES[x["speaker"]]} for x in lines],
            )
    tiny.base().save(str(folder / "base"))
    return folder


def train(folder, run, *overrides, **changes):
    return tiny_jobs.train(
        folder,
        run,
        COHORT,
        "train.num_steps=4",
        "train.eval_every_steps=2",
        *overrides,
        **{"data": "three", "cohort": "all"} | changes,
    )


@pytest.fixture(scope="module")
def trained(speech):
    return train(speech, speech / "run")


def cohort_of(run, cohort="_cohort"):
    directory = model_directory.ModelDirectory(run.cohort)
    return submodel_file.load(directory.submodel(cohort))


def test_speakers_start_from_the_submodel_of_all(speech, trained, capsys):
    cohort = cohort_of(trained)
    assert cohort.metadata.training["train_utterances"] == 12
    assert cohort.metadata.training["step"] > 0
    assert len(heard.unpack(cohort.metadata.heard)) == 12
    for speaker in ("ann", "bob", "cy"):
        found = loaded(trained, speaker).metadata
        assert found.started_from == {
            "sha256": cohort.metadata.sha256,
            "speaker": "_cohort",
            "source": "cohort",
        }
        # What others said stays in the cohort's file.
        assert len(heard.unpack(found.heard)) == 4
        figures = found.training
        assert figures["start_dev_loss"] < figures["base_dev_loss"]
    (path,) = run_results.read(trained).cohorts.values()
    assert submodel_file.load(path).metadata == cohort.metadata
    train(speech, trained.path)
    assert "they start: 3 from the Submodel of a cohort\n" in (
        capsys.readouterr().out
    )


def test_without_updates_a_speaker_is_the_cohort(speech, trained, tmp_path):
    run = train(speech, tmp_path / "run", "train.num_steps=0")
    cohort = cohort_of(run)
    # The cohort has updates of its own.
    np.testing.assert_array_equal(cohort.vector, cohort_of(trained).vector)
    for speaker in ("ann", "bob", "cy"):
        np.testing.assert_array_equal(
            loaded(run, speaker).vector, cohort.vector
        )


def only(folder, speakers):
    """The folder with the lines of some speakers alone, as `train` has it."""
    for name in ("train", "dev"):
        path = folder / f"{name}.jsonl"
        lines = test_program.lines_of(path)
        test_program.write_lines(
            folder / f"only_{name}.jsonl",
            [line for line in lines if line["speaker"] in speakers],
        )
    return {
        f"{name}_manifest": str(folder / f"only_{name}.jsonl")
        for name in ("train", "dev")
    }


def test_with_others_as_alone_from_the_same_cohort(speech, trained, tmp_path):
    """Law 2, given the start."""
    alone = train(
        speech,
        tmp_path / "alone",
        cohort="",
        start_from=trained.cohort,
        **only(speech / "three", ["ann"]),
    )
    found, together = loaded(alone, "ann"), loaded(trained, "ann")
    np.testing.assert_array_equal(found.vector, together.vector)
    assert found.metadata.training == together.metadata.training
    # Where it was found is all that differs.
    assert found.metadata.started_from == together.metadata.started_from | {
        "source": "run"
    }
    some = train(speech, tmp_path / "some", speakers=["ann"])
    assert contents(some) == {
        "ann.safetensors": contents(trained)["ann.safetensors"]
    }


def test_one_cohort_for_each_value_of_a_field(speech, tmp_path, capsys):
    run = train(speech, tmp_path / "run", data="", cohort="language")
    told = capsys.readouterr().out
    assert (
        "trained first: cohort of language en (2 speakers), cohort of "
        "language es (2 speakers); nobody shares the language of eve\n"
    ) in told
    assert "4 from the Submodel of a cohort, 1 from the base model" in told
    for speaker, language in LANGUAGES.items():
        started = loaded(run, speaker).metadata.started_from
        expected = None if speaker == "eve" else f"_cohort.language.{language}"
        assert started.get("speaker") == expected
    # Each cohort is as if there were no other one.
    alone = train(
        speech,
        tmp_path / "es",
        data="",
        cohort="language",
        **only(speech, ["ann", "bob"]),
    )
    name = "_cohort.language.es"
    np.testing.assert_array_equal(
        cohort_of(run, name).vector, cohort_of(alone, name).vector
    )


def test_a_cohort_is_what_a_speaker_of_all_its_speech_would_be(
    speech, trained, tmp_path
):
    """The same code trains both."""
    folder = tmp_path / "joined"
    shutil.copytree(speech / "three", folder)
    for name in ("train", "dev"):
        path = folder / f"{name}.jsonl"
        lines = test_program.lines_of(path)
        for line in lines:
            line["utt_id"] = f"{line['speaker']}/{line['utt_id']}"
            line["speaker"] = "joined"
        test_program.write_lines(path, lines)
    run = train(
        speech,
        tmp_path / "run",
        cohort="",
        train_manifest=str(folder / "train.jsonl"),
        dev_manifest=str(folder / "dev.jsonl"),
    )
    found, cohort = loaded(run, "joined"), cohort_of(trained)
    # The id keys the streams of its draws; all else is the same.
    for key in ("train_utterances", "train_seconds_of_speech", "base_dev_loss"):
        assert found.metadata.training[key] == pytest.approx(
            cohort.metadata.training[key], rel=1e-6
        )
    assert found.metadata.heard == cohort.metadata.heard


@pytest.mark.parametrize("part", ["cohort", "speakers"])
def test_an_interrupted_run_comes_out_the_same(
    speech, trained, tmp_path, monkeypatch, part
):
    original = trainer.Trainer._train_leg

    def interrupted(self, progress):
        original(self, progress)
        is_cohort = self._directory.path.endswith("cohort")
        if is_cohort == (part == "cohort"):
            self._notice.number = 2
            self._save_if_due()

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_train_leg", interrupted)
        with pytest.raises(preemption.Stopped):
            train(speech, run)
    assert (run / "experiment.json").exists() == (part == "speakers")
    done = train(speech, run)
    assert contents(done) == contents(trained)
    assert cohort_of(done).metadata == cohort_of(trained).metadata


def test_a_cohort_of_other_speech_is_trained_anew(
    speech, trained, tmp_path, monkeypatch, capsys
):
    def interrupted(self, progress):
        raise preemption.Stopped(self._directory.path, 2)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_train_leg", interrupted)
        with pytest.raises(preemption.Stopped):
            train(speech, run, **only(speech / "three", ["ann", "bob"]))
    done = train(speech, run)
    assert contents(done) == contents(trained)
    assert cohort_of(done).metadata == cohort_of(trained).metadata


def test_newcomers_start_from_the_cohort_of_the_run_before(
    speech, trained, tmp_path
):
    run = train(
        speech,
        tmp_path / "run",
        cohort="",
        data="",
        start_from=trained.path,
    )
    before = loaded(trained, "ann").metadata
    assert loaded(run, "ann").metadata.started_from["sha256"] == before.sha256
    dee = loaded(run, "dee").metadata
    assert dee.started_from == {
        "sha256": cohort_of(trained).metadata.sha256,
        "speaker": "_cohort",
        "source": "run",
    }


def test_cohort_and_speakers_go_on_in_their_own_folder(
    speech, trained, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    done = train(speech, run, data="", start_from=str(run))
    cohort = cohort_of(done)
    assert cohort.metadata.started_from == {
        "sha256": cohort_of(trained).metadata.sha256,
        "speaker": "_cohort",
        "source": "run",
    }
    assert cohort.metadata.training["train_utterances"] == 20
    ann, dee = (loaded(done, s).metadata.started_from for s in ("ann", "dee"))
    assert ann["sha256"] == loaded(trained, "ann").metadata.sha256
    assert dee["sha256"] == cohort.metadata.sha256
    before = contents(done)
    assert contents(train(speech, run, data="", start_from=str(run))) == before
    # In a folder of its own it comes to the same.
    other = train(speech, tmp_path / "other", data="", start_from=trained.path)
    assert contents(other) == before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cohort": "tongue"}, "--cohort must be one of all, language"),
        (
            {"cohort": "etiology"},
            "no line of the train manifest has `etiology`; they have language",
        ),
        ({"cohort": "all", "alone": ["ann"]}, "cohort of one speaker .ann."),
        (
            {"cohort": "language", "alone": ["ann", "cy"]},
            "cohort of one speaker .ann, cy.",
        ),
    ],
)
def test_a_cohort_that_makes_no_sense_is_refused(
    speech, tmp_path, changes, message
):
    alone = changes.get("alone")
    more = only(speech / "three", alone) if alone else {}
    with pytest.raises(ValueError, match=message):
        train(speech, tmp_path / "run", cohort=changes["cohort"], **more)
    assert os.listdir(tmp_path) == []


def test_a_run_keeps_its_cohorts(speech, trained):
    before = contents(trained)
    with pytest.raises(ValueError, match="--cohort: saved all, now language"):
        train(speech, trained.path, cohort="language")
    # Without the flag, those that it has.
    assert contents(train(speech, trained.path, cohort="")) == before
    saved = trained.read_experiment()
    assert saved["cohort"]["of"] == dict.fromkeys(
        ("ann", "bob", "cy"), "_cohort"
    )


def test_held_out_speech_is_not_heard_by_the_cohort_either(tmp_path):
    tiny.recordings(tmp_path, ("ann", "bob"), 12)
    path = tmp_path / "train.jsonl"
    lines = test_program.lines_of(path)
    for number, line in enumerate(lines):
        line["text"] = test_dev_speech.WORDS[number % 12]
    test_program.write_lines(path, lines)
    tiny.base().save(str(tmp_path / "base"))
    run = train(tmp_path, tmp_path / "run", data="", has_dev=False)
    of_cohort = heard.unpack(cohort_of(run).metadata.heard)
    of_speakers = [
        heard.unpack(loaded(run, s).metadata.heard) for s in ("ann", "bob")
    ]
    assert len(of_cohort) == 20
    assert of_cohort == of_speakers[0] | of_speakers[1]
    assert (
        json.loads(
            (tmp_path / "run" / "cohort" / "experiment.json").read_text()
        )["dev_speech"]
        == "held out"
    )


def test_beside_a_space_a_cohort_is_trained_for_comparison(
    speech, trained, tmp_path
):
    experiment = hyperparams.override(
        registry.get("conformer.TinyEmbedding"),
        [
            COHORT,
            "base.buckets_seconds=2.0",
            "train.speakers_per_step=1",
            "train.num_steps=2",
            "train.eval_every_steps=2",
        ],
    )
    run = training_program.train(
        "conformer.TinyEmbedding",
        experiment,
        str(speech / "three" / "train.jsonl"),
        str(tmp_path / "run"),
        dev_manifest=str(speech / "three" / "dev.jsonl"),
        base_path=str(speech / "base"),
        cohort="all",
    )
    space = space_file.load(run.space)
    saved = run.read_experiment()
    assert saved["start"] == {}
    assert list(saved["cohort"]["of"]) == ["ann", "bob", "cy"]
    assert loaded(run, "ann").metadata.started_from == {}
    cohort = cohort_of(run)
    assert cohort.metadata.training["step"] > 0
    # A newcomer is judged beside it; who was in it is not.
    new = [utterance("new", sha256="f" * 64)]
    data = {"new": preparation.TokenizedUtterances(tuple(new))}
    found = baselines.of_run(run.path, space, data, {})["new"]
    assert found.title == "cohort"
    np.testing.assert_array_equal(
        np.concatenate([each.ravel() for each in found.tensors.values()]),
        cohort.vector,
    )


def test_who_withdraws_is_told_what_the_cohort_keeps(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    found = withdrawal.withdraw(str(run), "ann")
    assert "cohort/train_texts.json (whole)" in found.removed
    assert any("the cohort's Submodel was trained" in s for s in found.remains)
    assert "ann" not in (run / "experiment.json").read_text()
    assert "ann" not in (run / "cohort" / "experiment.json").read_text()


def utterance(speaker="ann", **labels):
    return manifest.Utterance("a.wav", "on", speaker, "1", 1.0, **labels)


def test_a_speaker_belongs_where_most_of_the_speech_does():
    spoken = [utterance(language=each) for each in ("es", "en", "es", "")]
    assert cohorts.of_speaker(spoken, "language") == "_cohort.language.es"
    assert cohorts.of_speaker(spoken, "all") == "_cohort"
    assert cohorts.of_speaker(spoken, "etiology") is None
    # Who has two alike belongs to the first by name.
    assert cohorts.of_speaker(spoken[:2], "language") == "_cohort.language.en"
    control = [utterance(etiology="control")]
    assert cohorts.of_speaker(control, "severity") == "_cohort.severity.typical"
    there = ["_cohort.language.es", "_cohort.language.a.b"]
    assert cohorts.find(spoken, there) == "_cohort.language.es"
    assert cohorts.find([utterance(language="a.b")], there) == there[1]
    assert cohorts.find([utterance(language="fr")], there) is None
    assert cohorts.find(spoken, [*there, "_cohort"]) == "_cohort"
    assert cohorts.title("_cohort.language.a.b") == "cohort of language a.b"


def test_no_person_can_have_the_id_of_a_cohort():
    assert cohorts.is_cohort("_cohort") and cohorts.is_cohort("_cohort.x.y")
    assert not cohorts.is_cohort("_cohorts") and not cohorts.is_cohort("ann")
    assert not ids.is_valid("_cohort") and not ids.is_valid("_cohort.x.y")
