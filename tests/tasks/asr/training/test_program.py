"""The training program: what it refuses, what it leaves, how it continues."""

import json
import os
import pathlib
import shutil
import signal

import pytest

from lingvo_like import hyperparams
from params import registry
from tasks.asr.training import (
    checkpoint,
    model_directory,
    preemption,
    program as training_program,
    set_aside,
    trainer,
)
from tests import tiny

SPEAKERS = ("ann", "bob")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 4)
    tiny.recordings(folder, SPEAKERS, 2, seed=1, name="dev")
    tiny.base().save(str(folder / "base"))
    return folder


def train(folder, name="conformer.Tiny", overrides=(), **changes):
    """A small job on what `speech` wrote."""
    experiment = hyperparams.override(
        registry.get(name), ["base.buckets_seconds=2.0", *overrides]
    )
    return training_program.train(
        name,
        experiment,
        **{
            "train_manifest": str(folder / "train.jsonl"),
            "dev_manifest": str(folder / "dev.jsonl"),
            "base_path": str(folder / "base"),
            "model_dir": str(folder / "run"),
        }
        | changes,
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"base_path": ""}, "--base is missing"),
        (
            {
                "overrides": ["train.resident_speakers=4"],
                "speakers": ["ann"],
            },
            "--speakers chooses some of a run",
        ),
        (
            {
                "overrides": ["train.cache_activations=true"],
                "model_dir": "gs://bucket/run",
            },
            "keeps files on a disk of this machine",
        ),
        (
            {"name": "conformer.TinyEmbedding", "speakers": ["ann"]},
            "--speakers would move the basis",
        ),
        (
            {"name": "conformer.TinyEmbedding", "space_from": "runs/first"},
            "--space_from names the run",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **changes)
    assert os.listdir(tmp_path) == []


def test_a_base_that_is_not_there_is_named(speech, tmp_path):
    path = str(tmp_path / "none")
    with pytest.raises((ValueError, OSError), match=path):
        train(speech, base_path=path, model_dir=str(tmp_path / "run"))


def test_refusals_lose_nothing(speech, capsys):
    directory = train(speech)
    printed = capsys.readouterr().out
    assert "2 speakers x " in printed
    for command in ("evaluate", "export"):
        assert f"python -m tasks.{command} --model_dir={directory.path} " in (
            printed
        )
    names = sorted(os.listdir(directory.submodels))
    paths = [os.path.join(directory.submodels, name) for name in names]
    before = [open(path, "rb").read() for path in paths]
    assert len(before) == 2
    assert len(directory.read_texts()["ann"]) == 4
    # The run knows its base.
    train(speech, base_path="")
    with open(speech / "train.jsonl", "a") as file:
        file.write('{"audio_filepath": "gone.wav", "text": "on"}\n')
    for changes, message in (
        ({"strict": True}, "train.jsonl:9: no `speaker`"),
        (
            {"overrides": ["train.num_steps=9"]},
            "train.num_steps: saved 8, now 9",
        ),
        ({"speakers": ["ann", "zoe"]}, "--speakers names zoe"),
        ({"dev_manifest": f"{speech}/none.jsonl"}, "none.jsonl does not exist"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            train(speech, **changes)
    newest = max(os.listdir(directory.checkpoints))
    state = os.path.join(directory.checkpoints, newest, "state.json")
    os.truncate(state, os.path.getsize(state) - 10)
    with pytest.raises(checkpoint.CheckpointError, match="state.json"):
        train(speech)
    assert [open(path, "rb").read() for path in paths] == before
    # A finished run stays one, whoever removed its checkpoints.
    shutil.rmtree(directory.checkpoints)
    with pytest.raises(ValueError, match="holds another run: .*speakers whose"):
        train(speech, dev_manifest="")
    assert [open(path, "rb").read() for path in paths] == before
    capsys.readouterr()
    train(speech)
    assert "has no checkpoint any more" in capsys.readouterr().err
    assert [open(path, "rb").read() for path in paths] == before


def test_a_start_that_fails_at_its_description_leaves_no_folder(
    speech, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(
        model_directory.ModelDirectory, "write_experiment", full
    )
    with pytest.raises(OSError, match="no space left"):
        train(speech, model_dir=str(tmp_path / "run"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["run", "new/run", "there"])
def test_a_start_that_fails_leaves_no_folder(speech, tmp_path, folder):
    (tmp_path / "there").mkdir()
    manifest = tmp_path / "lost.jsonl"
    manifest.write_text(
        '{"audio_filepath": "gone.wav", "text": "on", "speaker": "ann"}\n'
    )
    for changes in (
        {"train_manifest": str(manifest)},
        {"overrides": ["adapter.sites=encoder/block_99/output"]},
        {"strict": True, "dev_manifest": str(manifest)},
    ):
        with pytest.raises(ValueError):
            train(speech, model_dir=str(tmp_path / folder), **changes)
        assert sorted(os.listdir(tmp_path)) == ["lost.jsonl", "there"]
        assert os.listdir(tmp_path / "there") == []


def lines_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def contents(directory):
    return {
        path.name: path.read_bytes()
        for path in pathlib.Path(directory.submodels).iterdir()
    }


@pytest.fixture
def three(tmp_path):
    """Three people's speech, and the files of a run on it."""
    folder = tmp_path / "three"
    tiny.recordings(folder, ("ann", "bob", "cy"), 4)
    tiny.recordings(folder, ("ann", "bob", "cy"), 2, seed=1, name="dev")
    tiny.base().save(str(folder / "base"))
    whole = contents(train(folder, model_dir=str(tmp_path / "whole")))
    assert len(whole) == 3
    # A run that has got to a checkpoint.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "_train_leg", interrupt_second_leg)
        with pytest.raises(preemption.Stopped):
            train(folder)
    return folder, whole


def interrupt_second_leg(self, progress, original=trainer.Trainer._train_leg):
    original(self, progress)
    self._notice.number = signal.SIGINT
    self._save_if_due()


def test_without_a_persons_lines_a_run_goes_on_for_the_others(three, capsys):
    folder, whole = three
    kept = (folder / "train.jsonl").read_text()
    for name in ("train", "dev"):
        path = folder / f"{name}.jsonl"
        lines = [x for x in lines_of(path) if x["speaker"] != "bob"]
        write_lines(path, lines)
    found = contents(train(folder))
    assert "so left as they are: bob" in capsys.readouterr().err
    for name in ("ann.safetensors", "cy.safetensors"):
        assert found[name] == whole[name]
    directory = model_directory.ModelDirectory(str(folder / "run"))
    assert set(directory.read_texts()) == {"ann", "cy"}
    assert list(directory.read_experiment()["data"]) == ["ann", "bob", "cy"]
    # A finished run says it again, and no more.
    train(folder)
    # Nobody is added to a run, and somebody must be left.
    (folder / "train.jsonl").write_text(kept.replace('"bob"', '"zoe"'))
    with pytest.raises(ValueError, match="new speakers: zoe"):
        train(folder)


def test_whose_recordings_changed_is_set_aside_and_said_in_the_end(
    three, capsys
):
    folder, whole = three
    lost = folder / "train_0_1.wav"
    content = lost.read_bytes()
    lost.unlink()
    # Longer than anything of the others.
    path = folder / "dev.jsonl"
    lines = lines_of(path)
    changed = [
        line | {"text": "no stop"} if line["speaker"] == "cy" else line
        for line in lines
    ]
    write_lines(path, changed)
    with pytest.raises(set_aside.SetAsideError) as raised:
        train(folder)
    message = str(raised.value)
    assert "2 of 3 speakers were set aside: ann (" in message
    found = contents(model_directory.ModelDirectory(str(folder / "run")))
    assert found["bob.safetensors"] == whole["bob.safetensors"]
    # Once everything is as it was, they go on to the same bytes.
    lost.write_bytes(content)
    write_lines(path, lines)
    assert contents(train(folder)) == whole
    # Who is done needs no recordings, and learns nothing of other texts.
    lost.unlink()
    write_lines(path, changed)
    capsys.readouterr()
    assert contents(train(folder)) == whole
    told = capsys.readouterr().err
    assert "done before, and left as they are: ann, cy. Since then" in told


@pytest.mark.slow
def test_a_space_continues_and_starts_from_a_run_of_slots(speech, tmp_path):
    def space(folder, *overrides, **changes):
        return train(
            speech,
            name="conformer.TinyEmbedding",
            overrides=overrides,
            model_dir=str(tmp_path / folder),
            **changes,
        )

    encoder = "space.speaker_encoder=true"
    directory = space("space", encoder)
    names = os.listdir(directory.submodels)
    paths = [directory.space, *(directory.submodels + "/" + n for n in names)]
    assert len(paths) == 3
    before = [open(path, "rb").read() for path in paths]
    space("space", encoder)
    assert [open(path, "rb").read() for path in paths] == before
    with pytest.raises(ValueError, match="must be as in the space"):
        space(
            "refused",
            "space.initializer=space",
            "space.embedding_dim=3",
            space_from=directory.path,
        )
    # So that the same command, corrected, works in the same folder.
    assert not (tmp_path / "refused" / "experiment.json").exists()
    slots = train(
        speech,
        overrides=["submodel.shared_start=true"],
        model_dir=str(tmp_path / "slots"),
    )
    space("from_slots", "space.initializer=stack", space_from=slots.path)
