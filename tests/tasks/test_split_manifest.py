import json
import os
import re

import numpy as np
import pytest
import soundfile

from tasks.asr.data import inspection
from tests import binaries


def run(*arguments):
    return binaries.run("split_manifest", *arguments)


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


def test_three_manifests_are_written_and_read_back(source):
    folder = source.parent / "new"
    done = run(f"--manifest={source}", f"--output_dir={folder}", "--seed=1")
    assert done.returncode == 0, done.stderr
    assert "train 16  dev 2  test 2" in done.stdout
    assert "`text` is empty" in done.stdout
    assert "2 speakers with fewer than 20 utterances to train" in done.stdout
    assert "ann: train 8, test 1" in done.stdout
    assert "Replaced" not in done.stdout
    assert (
        "Next: python -m tasks.train --base=tiny.en "
        f"--train_manifest={folder}/train.jsonl "
        f"--dev_manifest={folder}/dev.jsonl --model_dir=runs/first"
    ) in done.stdout
    texts = {}
    for name in ("train", "dev", "test"):
        part, left_out = inspection.read(str(folder / f"{name}.jsonl"))
        assert not left_out
        assert {each.split for each in part} == {name}
        texts[name] = {each.text for each in part if each.speaker == "ann"}
    assert len(set.union(*texts.values())) == 10
    assert not texts["train"] & texts["test"]
    assert sorted(os.listdir(folder)) == [
        "dev.jsonl",
        "left_out.txt",
        "test.jsonl",
        "train.jsonl",
    ]
    assert "all.jsonl:21" in (folder / "left_out.txt").read_text()


def test_files_of_another_split_are_named_when_they_are_replaced(source):
    folder = source.parent / "new"
    flags = f"--manifest={source}", f"--output_dir={folder}"
    assert run(*flags).returncode == 0
    assert "Replaced" not in run(*flags).stdout
    (folder / "dev.jsonl").write_text("another's\n")
    done = run(*flags)
    assert f"Replaced, as they were different: {folder}/dev.jsonl\n" in (
        done.stdout
    )


def test_the_manifest_to_split_is_never_replaced(source):
    path = source.rename(source.parent / "train.jsonl")
    before = path.read_bytes()
    done = run(f"--manifest={path}", f"--output_dir={source.parent}")
    assert done.returncode == 1
    assert "is the manifest to split" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--fractions=a,b", "--fractions must be three numbers"),
        ("--fractions=0.5,0.5,0.5", "fractions must sum to 1"),
        ("--manifest=none.jsonl", "none.jsonl does not exist"),
        ("--strict", "all.jsonl:21: `text` is empty"),
    ],
)
def test_errors_are_one_line_and_write_nothing(source, change, message):
    folder = source.parent / "new"
    done = run(f"--manifest={source}", f"--output_dir={folder}", change)
    assert done.returncode == 1
    (error,) = done.stderr.strip().splitlines()
    assert error.startswith("error: ") and message in error
    assert not folder.exists()


def test_odd_ids_are_refused_with_the_line_or_mapped(source):
    text = source.read_text()
    source.write_text(text.replace('"bob"', '"Bob Ray"'))
    folder = source.parent / "new"
    flags = f"--manifest={source}", f"--output_dir={folder}"
    done = run(*flags)
    assert done.returncode == 1
    assert "all.jsonl:11: 'Bob Ray'" in done.stderr
    assert not folder.exists()
    done = run(*flags, "--map_ids")
    assert done.returncode == 0, done.stderr
    assert "Bob Ray is Bob-Ray" in done.stdout
    table = (folder / "ids.csv").read_text()
    new = re.fullmatch(r"id,speaker\n(Bob-Ray-\w{8}),Bob Ray\n", table)[1]
    part, _ = inspection.read(str(folder / "train.jsonl"))
    assert {each.speaker for each in part} == {"ann", new}
