"""Output folders that appear complete or not at all."""

import json

import pytest

from tasks.asr.data import new_folder


def test_folder_appears_with_its_content_only_at_the_end(tmp_path):
    target = tmp_path / "a" / "b"
    with new_folder.create(target) as folder:
        (folder / "file").write_text("x")
        assert not target.exists()
    assert [file.name for file in target.iterdir()] == ["file"]
    assert [file.name for file in target.parent.iterdir()] == ["b"]


def test_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        with new_folder.create(tmp_path / "b") as folder:
            (folder / "file").write_text("x")
            raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_empty_folder_is_taken(tmp_path):
    with new_folder.create(tmp_path) as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "file").exists()


def test_filled_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        with new_folder.create(tmp_path):
            pass
    assert (tmp_path / "mine").read_text() == "x"


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write the folder .*file/b"):
        with new_folder.create(tmp_path / "file" / "b"):
            pass


def test_bucket_addresses_are_refused():
    with pytest.raises(ValueError, match="local one. Received: gs://a/b"):
        new_folder.local_path("gs://a/b")


def test_existing_compares_requests(tmp_path):
    assert new_folder.existing(tmp_path, "m.json", {"seed": 1}) is None
    content = {"request": {"seed": 1}}
    (tmp_path / "m.json").write_text(json.dumps(content))
    assert new_folder.existing(tmp_path, "m.json", {"seed": 1}) == content
    with pytest.raises(FileExistsError, match="seed is 1 there and 2 here"):
        new_folder.existing(tmp_path, "m.json", {"seed": 2})


def test_damaged_metadata_is_refused(tmp_path):
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(FileExistsError, match="m.json is damaged"):
        new_folder.existing(tmp_path, "m.json", {})
