"""`python -m tasks.train` as a user meets it: what it refuses, and how."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests import binaries, tiny

ROOT = pathlib.Path(__file__).parents[2]


def train(*flags):
    return binaries.run("train", *flags)


def job(folder, **flags):
    """The flags of a small job on a folder of speech."""
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


@pytest.mark.parametrize(
    "changes, message",
    [
        (["--experiment=conformer.Tinny"], "Did you mean conformer.Tiny or"),
        (["--set=train.num_stepz=3"], "Did you mean train.num_steps"),
        (["--set=train.num_steps=many"], "`train.num_steps` must be an int"),
        (["--set=train.eval_every_steps=0"], "must be at least 1. Received"),
        (["--set=space.normalization=unity"], "must be one of none, softmax"),
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


@pytest.mark.slow
def test_sigterm_ends_with_143_and_the_same_command_goes_on(tmp_path):
    tiny.recordings(tmp_path, ("ann", "bob"), 4)
    tiny.base().save(str(tmp_path / "base"))
    files = {}
    for name in ("whole", "stopped"):
        flags = [
            *job(tmp_path, model_dir=tmp_path / name, dev_manifest=""),
            "--set=train.num_steps=400",
            "--set=train.eval_every_steps=400",
            "--set=train.checkpoint_every_seconds=1",
        ]
        if name == "stopped":
            process = subprocess.Popen(
                [sys.executable, "-m", "tasks.train", *flags],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            checkpoints = tmp_path / name / "checkpoints"
            while not (checkpoints.exists() and any(checkpoints.iterdir())):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=120)
            assert process.returncode == 143, said
            assert "Traceback" not in said
            assert said.splitlines()[-1].startswith("stopped by SIGTERM; the ")
            # Nobody has learned anything yet.
            assert not (tmp_path / name / "submodels").exists()
        done = train(*flags)
        assert done.returncode == 0, done.stderr
        submodels = tmp_path / name / "submodels"
        files[name] = {p.name: p.read_bytes() for p in submodels.iterdir()}
    assert len(files["whole"]) == 2
    assert files["whole"] == files["stopped"]


@pytest.mark.slow
def test_a_space_that_was_trained_is_shown(tmp_path):
    tiny.recordings(tmp_path, ("ann", "bob", "cy"), 4)
    tiny.recordings(tmp_path, ("ann", "bob", "cy"), 2, seed=1, name="dev")
    tiny.base().save(str(tmp_path / "base"))
    run = tmp_path / "space"
    done = train(
        *job(tmp_path, experiment="conformer.TinyEmbedding", model_dir=run)
    )
    assert done.returncode == 0, done.stderr
    assert f"space: {run}/space.safetensors" in done.stdout
    done = binaries.run(
        "evaluate",
        f"--model_dir={run}",
        f"--test_manifest={tmp_path}/dev.jsonl",
    )
    assert done.returncode == 0, done.stderr
    report = (run / "evaluation" / "report.html").read_text()
    assert "Map of the space" in report and "Nearest speakers" in report
