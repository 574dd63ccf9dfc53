"""`python -m tasks.train` as a user meets it: what it refuses, and how."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]


def train(*flags):
    return subprocess.run(
        [sys.executable, "-m", "tasks.train", *map(str, flags)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def job(folder, **flags):
    """The flags of a small job on what `speech` wrote."""
    values = {
        "experiment": "conformer.Tiny",
        "base": folder / "base",
        "train_manifest": folder / "train.jsonl",
        "dev_manifest": folder / "dev.jsonl",
        "model_dir": folder / "run",
    } | flags
    return [
        *(f"--{name}={value}" for name, value in values.items()),
        "--set=base.buckets_seconds=2.0",
    ]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, ("ann", "bob"), 4)
    tiny.recordings(folder, ("ann", "bob"), 2, seed=1, name="dev")
    tiny.base().save(str(folder / "base"))
    return folder


@pytest.mark.parametrize(
    "changes, message",
    [
        (["--experiment=conformer.Tinny"], "Did you mean conformer.Tiny?"),
        (["--set=train.num_stepz=3"], "Did you mean train.num_steps"),
        (["--set=train.num_steps=many"], "`train.num_steps` must be an int"),
        (["--set=train.eval_every_steps=0"], "must be at least 1. Received"),
        (["--base="], "--base is missing"),
        (["--model_dir="], "--model_dir is missing"),
        (["train.jsonl"], "unexpected argument 'train.jsonl'"),
    ],
)
def test_a_mistake_in_the_command_is_one_line_at_once(
    tmp_path, changes, message
):
    done = train(*job(tmp_path), *changes)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert os.listdir(tmp_path) == []


def test_experiments_are_listed_with_what_they_are():
    done = train("--list_experiments")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "conformer.Tiny" in done.stdout
    assert "A Conformer of 2 blocks" in done.stdout


def test_a_base_that_is_not_there_is_one_line(tmp_path):
    tiny.recordings(tmp_path, ("ann",), 2)
    done = train(*job(tmp_path, dev_manifest=""))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "base") in done.stderr


@pytest.mark.slow
def test_refusals_come_before_training_and_lose_nothing(speech):
    first = train(*job(speech))
    assert first.returncode == 0, first.stderr
    submodels = speech / "run" / "submodels"
    before = {path: path.read_bytes() for path in submodels.iterdir()}
    assert len(before) == 2
    with open(speech / "train.jsonl", "a") as file:
        file.write('{"audio_filepath": "gone.wav", "text": "on"}\n')
    newest = max((speech / "run" / "checkpoints").iterdir())
    for changes, message in (
        (["--strict"], "train.jsonl:9: no `speaker`"),
        (["--set=train.num_steps=9"], "train.num_steps: saved 8, now 9"),
        (["--speakers=ann,zoe"], "--speakers names zoe"),
        ([f"--dev_manifest={speech}/none.jsonl"], "none.jsonl does not exist"),
    ):
        done = train(*job(speech), *changes)
        assert done.returncode == 1, message
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: ") and message in last
        assert "Traceback" not in done.stderr
    state = newest / "state.json"
    state.write_bytes(state.read_bytes()[:-10])
    done = train(*job(speech))
    assert done.returncode == 1
    assert str(state) in done.stderr.splitlines()[-1]
    assert {path: path.read_bytes() for path in submodels.iterdir()} == before
