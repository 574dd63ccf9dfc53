"""The files that an evaluation leaves behind."""

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
