import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from absl import flags
from absl.testing import flagsaver

from tasks import split_manifest
from tasks.asr import manifest

flags.FLAGS.mark_as_parsed()


def run(capsys, **values):
    """What the binary prints; its errors are raised, as `cli.run` gets them."""
    with flagsaver.flagsaver(**values):
        split_manifest.main(["split_manifest"])
    return capsys.readouterr().out


@pytest.fixture
def source(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 1600)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    lines = [
        {
            "audio_filepath": "a.wav",
            "text": f"phrase {number}",
            "speaker": speaker,
            "utt_id": str(number),
        }
        for speaker in ("ann", "bob")
        for number in range(10)
    ]
    lines.append({"audio_filepath": "a.wav", "text": "", "speaker": "ann"})
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_three_manifests_are_written_and_read_back(source, capsys):
    folder = source.parent / "new"
    output = run(capsys, manifest=str(source), output_dir=str(folder), seed=1)
    assert "train 16  dev 2  test 2" in output
    assert "`text` is empty" in output
    texts = {}
    for name in ("train", "dev", "test"):
        part, left_out = manifest.read(str(folder / f"{name}.jsonl"))
        assert not left_out
        assert {each.split for each in part} == {name}
        texts[name] = {each.text for each in part if each.speaker == "ann"}
    assert len(set.union(*texts.values())) == 10
    assert not texts["train"] & texts["test"]
    assert sorted(os.listdir(folder)) == [
        "dev.jsonl",
        "test.jsonl",
        "train.jsonl",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": ["a", "b"]}, "--fractions must be three numbers"),
        ({"fractions": ["0.5", "0.5", "0.5"]}, "fractions must sum to 1"),
        ({"manifest": "none.jsonl"}, "none.jsonl does not exist"),
        ({"strict": True}, "all.jsonl:21: `text` is empty"),
    ],
)
def test_errors_name_the_fault_and_write_nothing(
    source, capsys, change, message
):
    folder = source.parent / "new"
    values = {"manifest": str(source), "output_dir": str(folder)} | change
    with pytest.raises((ValueError, OSError), match=message):
        run(capsys, **values)
    assert not folder.exists()


def test_command_line_answers_an_error_with_one_line(source):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tasks.split_manifest"),
            *(f"--manifest={source}.gone", f"--output_dir={source.parent}/new"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (error,) = done.stderr.strip().splitlines()
    assert error == f"error: manifest {source}.gone does not exist"
