"""`python -m tasks.train` as a user meets it: what it refuses, and how."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]


def command(*flags):
    return [sys.executable, "-m", "tasks.train", *map(str, flags)]


def train(*flags):
    return subprocess.run(
        command(*flags),
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
        (["--experiment=conformer.Tinny"], "Did you mean conformer.Tiny or"),
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
    # The run knows its base.
    again = train(*job(speech, base=""))
    assert again.returncode == 0, again.stderr
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
                command(*flags), cwd=ROOT, stderr=subprocess.PIPE, text=True
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
            assert not any((tmp_path / name / "submodels").iterdir())
        done = train(*flags)
        assert done.returncode == 0, done.stderr
        submodels = tmp_path / name / "submodels"
        files[name] = {p.name: p.read_bytes() for p in submodels.iterdir()}
    assert len(files["whole"]) == 2
    assert files["whole"] == files["stopped"]


def test_some_speakers_alone_are_refused_where_all_take_turns(tmp_path):
    done = train(
        *job(tmp_path), "--set=train.resident_speakers=2", "--speakers=ann"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: --speakers chooses some of a run")


def space_job(folder, **flags):
    return job(folder, experiment="conformer.TinyEmbedding", **flags)


def test_flags_that_do_not_fit_the_space_are_refused_at_once(tmp_path):
    for changes, message in (
        (["--speakers=ann"], "--speakers would move the basis"),
        (["--space_from=runs/first"], "--space_from names the run"),
        (["--set=space.normalization=unity"], "must be one of none, softmax"),
    ):
        done = train(*space_job(tmp_path), *changes)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_space_is_trained_gone_on_with_started_from_slots_and_shown(
    tmp_path,
):
    tiny.recordings(tmp_path, ("ann", "bob", "cy"), 4)
    tiny.recordings(tmp_path, ("ann", "bob", "cy"), 2, seed=1, name="dev")
    tiny.base().save(str(tmp_path / "base"))
    run = tmp_path / "space"
    encoder = "--set=space.speaker_encoder=true"
    done = train(*space_job(tmp_path, model_dir=run), encoder)
    assert done.returncode == 0, done.stderr
    assert f"space: {run}/space.safetensors" in done.stdout
    files = [run / "space.safetensors", *(run / "submodels").iterdir()]
    assert len(files) == 4
    before = [path.read_bytes() for path in files]
    done = train(*space_job(tmp_path, model_dir=run), encoder)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in files] == before
    done = subprocess.run(
        [sys.executable, "-m", "tasks.evaluate", f"--model_dir={run}"]
        + [f"--test_manifest={tmp_path}/dev.jsonl"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = (run / "evaluation" / "report.html").read_text()
    assert "Map of the space" in report and "Nearest speakers" in report
    refused = tmp_path / "refused"
    done = train(
        *space_job(tmp_path, model_dir=refused),
        "--set=space.initializer=space",
        "--set=space.embedding_dim=3",
        f"--space_from={run}",
    )
    assert done.returncode == 1
    assert "`space.embedding_dim` must be as in the space" in done.stderr
    # So that the same command goes, mended, in the same folder.
    assert not (refused / "experiment.json").exists()
    slots = tmp_path / "slots"
    shared = "--set=adapter.shared_start=true"
    done = train(*job(tmp_path, model_dir=slots), shared)
    assert done.returncode == 0, done.stderr
    done = train(
        *space_job(tmp_path, model_dir=tmp_path / "from_slots"),
        "--set=space.initializer=stack",
        f"--space_from={slots}",
    )
    assert done.returncode == 0, done.stderr
    assert "4 directions hold 100.0 %" in done.stdout
