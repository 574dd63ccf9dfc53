"""The command that packs manifests' recordings into shards."""

import json
import os

import numpy as np
import pytest
import soundfile

from tasks.asr.data import inspection
from tests import binaries


def run(*arguments):
    return binaries.run("pack_shards", *arguments)


@pytest.fixture
def source(tmp_path):
    """A folder of train.jsonl, with two faults, and dev.jsonl."""
    draw = np.random.default_rng(0)
    lines = []
    for number in range(5):
        name = f"{number}.wav"
        soundfile.write(tmp_path / name, draw.normal(0, 0.1, 1601), 16000)
        lines.append(
            {"audio_filepath": name, "text": f"phrase {number}", "speaker": "a"}
        )
    spoilt = np.full(1600, np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", spoilt, 16000, subtype="FLOAT")
    faults = [
        {"audio_filepath": name, "text": "on", "speaker": "a"}
        for name in ("missing.wav", "nan.wav")
    ]
    for name, part in (("train", lines + faults), ("dev", lines[3:])):
        text = "".join(json.dumps(line) + "\n" for line in part)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return tmp_path


def test_manifests_are_packed_and_what_is_unusable_is_accounted_for(source):
    folder = source / "packed"
    done = run(
        f"--manifest={source}/train.jsonl,{source}/dev.jsonl",
        f"--output_dir={folder}",
    )
    assert done.returncode == 0, done.stderr
    assert "train.jsonl: 5 utterances\n2 left out:" in done.stdout
    assert "5 recordings" in done.stdout
    assert sorted(os.listdir(folder)) == [
        "dev.jsonl",
        "dev.jsonl.left_out.txt",
        "shard-00000.tfrecord",
        "train.jsonl",
        "train.jsonl.left_out.txt",
    ]
    account = (folder / "train.jsonl.left_out.txt").read_text()
    assert "missing.wav" in account and "nan.wav" in account
    # The folder can be moved: paths are relative.
    folder.rename(source / "moved")
    train, left_out = inspection.read(str(source / "moved" / "train.jsonl"))
    assert not left_out and len(train) == 5
    dev, _ = inspection.read(str(source / "moved" / "dev.jsonl"))
    assert dev == train[3:]
    assert [each.utt_id for each in dev] == ["3", "4"]
    assert dev[0].duration == 1601 / 16000


@pytest.mark.parametrize(
    ("manifests", "flag", "message"),
    [
        ("dev.jsonl", "--output_dir={source}", "not an empty folder"),
        ("dev.jsonl,./dev.jsonl", "", "two manifests called dev.jsonl"),
        ("train.jsonl", "--strict", "train.jsonl has 1 unusable utterance:"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    source, manifests, flag, message
):
    before = sorted(os.listdir(source))
    paths = ",".join(f"{source}/{name}" for name in manifests.split(","))
    arguments = [f"--manifest={paths}", f"--output_dir={source}/packed"]
    if flag:
        arguments.append(flag.format(source=source))
    done = run(*arguments)
    assert done.returncode == 1
    (error,) = done.stderr.strip().splitlines()
    assert error.startswith("error: ") and message in error
    assert sorted(os.listdir(source)) == before
