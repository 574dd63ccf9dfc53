import os

import pytest

from tasks.asr.data import file_set


def test_files_appear_together_in_new_folders(tmp_path):
    first, second = tmp_path / "new" / "a.txt", tmp_path / "other" / "b.txt"
    file_set.write({str(first): "ä\n", str(second): "b\n"})
    assert first.read_bytes() == "ä\n".encode()
    assert second.read_text() == "b\n"


def test_failure_of_one_leaves_all_old_files(tmp_path):
    first = tmp_path / "a.txt"
    first.write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        file_set.write({str(first): "new", str(tmp_path / "folder"): "new"})
    assert first.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "folder"]


def test_full_disk_leaves_all_old_files(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path in paths:
        path.write_text("old")
    written = []

    def full_at_the_second(descriptor, fsync=os.fsync):
        written.append(descriptor)
        # One call for the file and one for its folder.
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        file_set.write({str(path): "new" for path in paths})
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]
