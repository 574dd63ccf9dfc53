"""The simulator as a command."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def simulate(*flags):
    return subprocess.run(
        [sys.executable, "-m", "tasks.simulate", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_writes_a_corpus_and_then_leaves_it(tmp_path):
    pytest.importorskip(
        "espeakng_loader", reason="the optional wheel espeakng-loader"
    )
    flags = (
        f"--output_dir={tmp_path}/corpus",
        "--num_speakers=2",
        "--severities=typical,severe",
        "--utterances_per_speaker=3",
        "--dev_utterances=1",
        "--test_utterances=1",
        "--voices=0:2",
    )
    done = simulate(*flags)
    assert done.returncode == 0, done.stderr
    assert "2 simulated speakers, 6 utterances" in done.stdout
    assert sorted(os.listdir(tmp_path / "corpus")) == [
        "audio",
        "dev.jsonl",
        "manifest.jsonl",
        "simulation.json",
        "test.jsonl",
        "train.jsonl",
    ]
    again = simulate(*flags)
    assert again.returncode == 0
    assert "already holds this very corpus" in again.stdout


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--num_speakers=0", "`num_speakers` must be at least 1. Received: 0"),
        ("--severities=sever", "Did you mean severe?"),
        ("--voices=7", "--voices must be FIRST:LAST"),
        ("--output_dir=/proc/nowhere/x", "cannot write the folder"),
    ],
)
def test_bad_flags_are_one_line(flag, message, tmp_path):
    if "/proc" in flag:
        pytest.importorskip(
            "espeakng_loader", reason="the optional wheel espeakng-loader"
        )
    done = simulate(f"--output_dir={tmp_path}/corpus", flag)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
