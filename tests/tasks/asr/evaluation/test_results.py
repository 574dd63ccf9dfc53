"""The files that an evaluation leaves behind."""

import json
import os

import pytest

from tasks.asr.data import rejections
from tasks.asr.evaluation import results


def test_results_that_cannot_be_written_leave_the_old_ones(
    tmp_path, monkeypatch
):
    old = tmp_path / "results.json"
    old.write_text("old")

    def write(path, data):
        raise OSError(28, "cannot write: No space left on device", path)

    monkeypatch.setattr(results.files, "write_atomically", write)
    with pytest.raises(OSError, match="No space left on device"):
        results.write(str(tmp_path), {}, [], [], {}, rejections.Rejections())
    assert old.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_results_of_another_manifest_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(tmp_path / "evaluation")
    assert results.other_manifest(folder, "test.jsonl") == ""
    os.mkdir(folder)
    path = tmp_path / "evaluation" / "results.json"
    path.write_text("half")
    assert results.other_manifest(folder, "test.jsonl") == ""
    path.write_text(json.dumps({"details": {"test_manifest": "test.jsonl"}}))
    assert results.other_manifest(folder, str(tmp_path / "test.jsonl")) == ""
    assert results.other_manifest(folder, "dev.jsonl") == "test.jsonl"
    assert results.other_manifest(folder, "test.jsonl,b") == "test.jsonl"
