"""Folders appear whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from lingvo_like import files, folders


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    root = str(tmp_path / "parent")
    path = f"{root}/folder"
    contents = {"a": b"first", "b": b"second"}
    write = files.write_atomically

    def fail_at_b(name, data):
        if name.endswith("/b"):
            raise OSError(errno.ENOSPC, "no space left")
        write(name, data)

    monkeypatch.setattr(files, "write_atomically", fail_at_b)
    with pytest.raises(OSError, match="no space left.*folder"):
        folders.write_folder(path, contents)
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    folders.write_folder(path, contents)
    assert {n: files.read(f"{path}/{n}") for n in contents} == contents
    with pytest.raises(
        FileExistsError, match="folder exists and is not an empty"
    ):
        folders.write_folder(path, {"a": b"other"})
    assert files.read(f"{path}/a") == b"first"
    assert [name.strip("/") for name in tf.io.gfile.listdir(root)] == ["folder"]


def test_folder_appears_with_its_content_only_at_the_end(tmp_path):
    target = tmp_path / "a" / "b"
    with folders.new_folder(target) as folder:
        (folder / "file").write_text("x")
        assert not target.exists()
    assert [file.name for file in target.iterdir()] == ["file"]
    assert [file.name for file in target.parent.iterdir()] == ["b"]


def test_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        with folders.new_folder(tmp_path / "b") as folder:
            (folder / "file").write_text("x")
            raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_empty_folder_is_taken(tmp_path):
    with folders.new_folder(tmp_path) as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "file").exists()


def test_filled_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        with folders.new_folder(tmp_path):
            pass
    assert (tmp_path / "mine").read_text() == "x"


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write the folder: .*file/b"):
        with folders.new_folder(tmp_path / "file" / "b"):
            pass


def test_error_leaves_no_folder_that_was_made_for_it(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with folders.new_folder(tmp_path / "a" / "b" / "c"):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    filling = (
        "import sys, time; from lingvo_like import folders\n"
        "with folders.new_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'a').write_text('half'); print('x', flush=True)\n"
        "    time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", filling, tmp_path / "first"],
        stdout=subprocess.PIPE,
    )
    process.stdout.read(1)
    with folders.new_folder(tmp_path / "second"):
        # The first one is alive.
        assert len(list(tmp_path.glob(".writing-*"))) == 2
        process.kill()
        process.wait()
        process.stdout.close()
        with folders.new_folder(tmp_path / "third"):
            assert len(list(tmp_path.glob(".writing-*"))) == 2
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"second", "third"}


def test_what_fails_leaves_no_new_folder_that_is_empty(tmp_path):
    (tmp_path / "there").mkdir()
    new, kept, there = (
        tmp_path / name for name in ("a/b/new", "kept/new", "there/in")
    )
    with pytest.raises(KeyError):
        with folders.tidy_after_failure(new, kept, there):
            for folder in (new, kept, there):
                folder.mkdir(parents=True)
            (kept.parent / "file").write_text("somebody's")
            raise KeyError
    assert sorted(os.listdir(tmp_path)) == ["kept", "there"]
    assert os.listdir(kept.parent) == ["file"]
    assert os.listdir(tmp_path / "there") == []
    with folders.tidy_after_failure(new):
        new.mkdir(parents=True)
    assert new.is_dir()
