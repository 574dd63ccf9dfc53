"""The simulator as a command."""

import json
import os

import numpy as np
import pytest
import soundfile

from tests import binaries


def simulate(*flags):
    return binaries.run("simulate", *flags)


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


@pytest.fixture
def recording(tmp_path):
    """The manifest of one recording."""
    folder = tmp_path / "source"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.sin(np.arange(16000) / 9) / 3, 16000)
    line = {
        "audio_filepath": "a.wav",
        "text": "hola",
        "speaker": "ann",
        "language": "es",
    }
    (folder / "all.jsonl").write_text(json.dumps(line) + "\n")
    return folder / "all.jsonl"


def test_alters_recordings_and_then_leaves_them(recording, tmp_path):
    pytest.importorskip("scipy", reason="the extra simulate")
    flags = (
        f"--output_dir={tmp_path}/altered",
        f"--manifest={recording}",
        "--alterations=rate,tremor",
        "--num_processes=1",
    )
    done = simulate(*flags)
    assert done.returncode == 0, done.stderr
    assert "3 altered speakers, 3 utterances" in done.stdout
    assert "Never clinical evidence" in done.stdout
    lines = (tmp_path / "altered" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["speaker"] for line in lines] == [
        *("ann-mild", "ann-moderate", "ann-severe")
    ]
    again = simulate(*flags)
    assert again.returncode == 0
    assert "already holds these recordings" in again.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--voices=0:2",), "--voices is about synthetic speakers"),
        (("--nosplit",), "--split is about synthetic speakers"),
        (("--severities=typical",), "typical speech is what --manifest has"),
        (("--alterations=breth",), "unknown alteration 'breth'. Did you mean"),
        (("--manifest=none.jsonl",), "none.jsonl"),
    ],
)
def test_bad_flags_of_altering_are_one_line(
    flags, message, recording, tmp_path
):
    output = tmp_path / "altered"
    done = simulate(f"--output_dir={output}", f"--manifest={recording}", *flags)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    "flag, message",
    [
        (
            "--alterations=rate",
            "is about recordings; name them with --manifest",
        ),
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
