"""From recordings to a report, through the commands that a user types."""

import json
import pathlib
import subprocess
import sys

import pytest

from lingvo_like.submodel import file as submodel_file
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]
SPEAKERS = ("ann", "bob")


def run(binary, *more, **flags):
    return subprocess.run(
        [sys.executable, "-m", f"tasks.{binary}", *more]
        + [f"--{name}={value}" for name, value in flags.items()],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 4)
    tiny.recordings(folder, SPEAKERS, 2, seed=1, name="dev")
    tiny.recordings(folder, SPEAKERS, 3, seed=2, name="test")
    with open(folder / "train.jsonl", "a") as file:
        file.write('{"audio_filepath": "gone.wav", "text": "", "speaker": 1}\n')
    tiny.base().save(str(folder / "base"))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return run(
        "train",
        "--set=base.buckets_seconds=2.0",
        "--set=train.num_steps=4",
        experiment="conformer.Tiny",
        base=folder / "base",
        train_manifest=folder / "train.jsonl",
        dev_manifest=folder / "dev.jsonl",
        model_dir=folder / "run",
    )


def evaluate(folder, **flags):
    defaults = {
        "model_dir": folder / "run",
        "test_manifest": folder / "test.jsonl",
    }
    return run("evaluate", **defaults | flags)


def test_training_and_evaluation_from_end_to_end(folder, trained):
    assert trained.returncode == 0, trained.stderr
    assert "2 speakers" in trained.stdout
    assert "`text` is empty" in trained.stderr
    assert "`text` is empty" in (folder / "run" / "left_out.txt").read_text()
    for speaker in SPEAKERS:
        path = folder / "run" / "submodels" / submodel_file.file_name(speaker)
        loaded = submodel_file.load(path)
        assert loaded.metadata.speaker == speaker
        assert loaded.metadata.training["train_utterances"] == 4
    done = evaluate(folder)
    assert done.returncode == 0, done.stderr
    for speaker in SPEAKERS:
        assert speaker in done.stdout
    assert set(json.loads(done.stdout.splitlines()[-1])) == {
        "median_relative_reduction_moderate_severe",
        "typical_change_points",
    }
    output = folder / "run" / "evaluation"
    assert (output / "left_out.txt").read_text() == ""
    results = json.loads((output / "results.json").read_text())
    assert results["details"]["experiment"] == "conformer.Tiny"
    lines = (output / "hypotheses.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {"reference", "base_hypothesis", "submodel_hypothesis"} <= set(
        json.loads(lines[0])
    )
    report = (output / "report.html").read_text()
    assert "ann" in report and "bob" in report


@pytest.mark.slow
def test_refusals_are_one_line(folder, trained):
    assert trained.returncode == 0, trained.stderr
    (folder / "empty").mkdir()
    lines = [json.loads(x) for x in (folder / "test.jsonl").open()]
    lines[1]["severity"] = "mild"
    two = folder / "two.jsonl"
    two.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for flags, message in (
        ({"model_dir": folder / "empty"}, "no run to evaluate"),
        ({"base": folder / "empty"}, str(folder / "empty")),
        ({"experiment": "whisper.Stacked"}, "now whisper.Stacked"),
        ({"set": "train.num_steps=8"}, "train.num_steps: saved 4, now 8"),
        ({"speakers": "zoe"}, "--speakers names zoe"),
        ({"normalizer": "englsh"}, "Did you mean english?"),
        ({"output_dir": folder / "test.jsonl"}, "--output_dir cannot be"),
        ({"test_manifest": folder / "none.jsonl"}, "does not exist"),
        ({"test_manifest": two}, "'ann' must have one severity: utterance"),
        ({"test_manifest": folder / "train.jsonl", "strict": True}, "unusable"),
        ({"compare_with": "tiny.en"}, "--compare_with names a Whisper"),
    ):
        done = evaluate(folder, **flags)
        assert done.returncode == 1, message
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr
