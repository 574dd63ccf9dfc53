"""The training program: what it refuses, what it leaves, how it continues."""

import os

import pytest

from lingvo_like import hyperparams
from params import registry
from tasks.asr.training import checkpoint, program as training_program
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
    assert "2 speakers, " in capsys.readouterr().out
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
        overrides=["adapter.shared_start=true"],
        model_dir=str(tmp_path / "slots"),
    )
    space("from_slots", "space.initializer=stack", space_from=slots.path)
