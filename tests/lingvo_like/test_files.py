"""Files appear whole or not at all, and errors name them."""

import errno
import os
import resource
import stat
import threading

import pytest
import tensorflow as tf

from lingvo_like import files


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)) * 5000])
@pytest.mark.parametrize("old", [None, b"something much longer than new"])
def test_the_file_holds_the_data_and_nothing_else_is_left(tmp_path, data, old):
    path = tmp_path / "a file"
    if old is not None:
        path.write_bytes(old)
    files.write_atomically(path, data)
    assert files.read(path) == data
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]


def test_the_file_is_as_readable_as_the_umask_says(tmp_path):
    umask = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_relative_paths_are_written_where_they_point(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_atomically("a", b"here")
    assert (tmp_path / "a").read_bytes() == b"here"


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    files.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_names_as_long_as_names_get_are_written(tmp_path):
    path = tmp_path / ("a" * 255)
    files.write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def test_readers_see_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "a"
    versions = [bytes([value]) * 300_000 for value in range(20)]
    files.write_atomically(path, versions[0])
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=watch)
    reader.start()
    for version in versions:
        files.write_atomically(path, version)
    done.set()
    reader.join()
    assert seen <= set(versions)


def test_a_full_disk_keeps_the_old_file_and_is_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write: File too large") as e:
            files.write_atomically(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert e.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_any_step_keeps_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(OSError, match="No space left on device") as e:
        files.write_atomically(path, b"new")
    assert e.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path / "a")):
        files.write_atomically(tmp_path / "a", b"")


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "missing" / "a"
    with pytest.raises(FileNotFoundError, match=str(path)):
        files.write_atomically(path, b"")


def test_folders_and_devices_are_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        files.write_atomically(tmp_path, b"")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        files.write_atomically(pipe, b"")
    assert pipe.is_fifo()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "missing")):
        files.read(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        files.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        files.read(tmp_path / "pipe")


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="at most 100 bytes.*1099511627776"):
        files.read(tmp_path / "huge", max_bytes=100)
    (tmp_path / "exact").write_bytes(b"x" * 100)
    assert files.read(tmp_path / "exact", max_bytes=100) == b"x" * 100


def test_other_file_systems_are_written_and_read_alike():
    folder = "ram://files_test"
    tf.io.gfile.makedirs(folder)
    path = f"{folder}/a"
    for data in (b"a longer old version", b"new"):
        files.write_atomically(path, data)
        assert files.read(path) == data
    assert tf.io.gfile.listdir(folder) == ["a"]
    with pytest.raises(FileNotFoundError, match="ram://files_test/missing"):
        files.read(f"{folder}/missing")


def test_a_remote_failure_keeps_the_old_file(monkeypatch):
    folder = "ram://files_failure_test"
    tf.io.gfile.makedirs(folder)
    path = f"{folder}/a"
    files.write_atomically(path, b"old")

    def no_quota(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "over quota")

    monkeypatch.setattr(tf.io.gfile, "rename", no_quota)
    with pytest.raises(OSError, match="over quota.*failure_test/a"):
        files.write_atomically(path, b"new")
    assert files.read(path) == b"old"
    assert tf.io.gfile.listdir(folder) == ["a"]


def test_trying_to_write_makes_no_folder(tmp_path):
    files.try_writing(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        files.try_writing(tmp_path / "file" / "b")


def test_bucket_addresses_are_refused():
    with pytest.raises(ValueError, match="local one. Received: gs://a/b"):
        files.local_path("gs://a/b")


def test_files_appear_together_in_new_folders(tmp_path):
    first, second = tmp_path / "new" / "a.txt", tmp_path / "other" / "b.txt"
    files.write_together({str(first): "ä\n", str(second): "b\n"})
    assert first.read_bytes() == "ä\n".encode()
    assert second.read_text() == "b\n"


def test_failure_of_one_leaves_all_old_files(tmp_path):
    first = tmp_path / "a.txt"
    first.write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write_together(
            {str(first): "new", str(tmp_path / "folder"): "new"}
        )
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
    # The file that was meant is named, and not the one that was written.
    with pytest.raises(OSError, match=f"No space left on device: '{paths[1]}'"):
        files.write_together({str(path): "new" for path in paths})
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_a_changed_file_has_another_size_or_time(tmp_path):
    assert files.size_and_time(tmp_path / "a") is None
    assert files.size_and_time("ram://files_time_test/a") is None
    tf.io.gfile.makedirs("ram://files_time_test")
    for path in (str(tmp_path / "a"), "ram://files_time_test/a"):
        files.write_atomically(path, b"12")
        before = files.size_and_time(path)
        assert before and before[0] == 2
        files.write_atomically(path, b"123")
        assert files.size_and_time(path) != before
