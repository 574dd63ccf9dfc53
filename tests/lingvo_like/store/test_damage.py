"""A store whose files were changed, linked, or not written in full."""

import errno
import json
import os
import pathlib
import shutil

import pytest

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import stored


@pytest.fixture
def local(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def _set(**changes):
    return lambda fields: {**fields, **changes}


def _set_version(**changes):
    return lambda fields: {
        **fields,
        "version": {**fields["version"], **changes},
    }


@pytest.mark.parametrize(
    "change, message",
    [
        (_set(format_version=2), "must be 1. Received: 2"),
        (_set(latest=0), "must be at least 1"),
        (_set(latest="9"), "must be at least 1"),
        (_set(more=1), "more"),
        (_set(version=[]), "must be a JSON object"),
        (lambda fields: {"format_version": 1, "latest": 1}, "version"),
        (_set_version(sha256="../../../../etc/passwd"), "hexadecimal"),
        (_set_version(number="1"), "positive integer"),
        (_set_version(number=True), "positive integer"),
        (_set_version(num_bytes=-1), "positive integer"),
        (_set_version(published_at=None), "must be a string"),
        (_set_version(tenant="../x"), "tenant id must be"),
        (_set_version(speaker="F02"), "another speaker"),
        (_set_version(gate={"low": 1}), "missing keys"),
        (_set_version(more=1), "more"),
    ],
)
def test_a_pointer_that_is_not_exact_serves_nobody(local, change, message):
    version = local.publish(stored.data(), "t", "F01")
    path = pathlib.Path(local.root, version.folder, "current.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(submodel_store.DamagedStoreError, match=message):
        local.resolve("t", "F01")
    assert len(list(local.verify())) == 1


def linked(path, target):
    """Puts a link in the place of what is moved to `target`."""
    shutil.move(path, target)
    os.symlink(target, path)


@pytest.mark.parametrize("depth", range(1, 6))
def test_no_link_is_followed(local, tmp_path, depth):
    version = local.publish(stored.data(1), "t", "F01")
    parts = f"{version.folder}/current.json".split("/")[:depth]
    linked(os.path.join(local.root, *parts), tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    for act in (
        lambda: local.resolve("t", "F01"),
        lambda: local.publish(stored.data(2), "t", "F01"),
        lambda: local.rollback("t", "F01"),
    ):
        with pytest.raises(OSError, match="a link, or a file|not a regular"):
            act()
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before
    assert [p for p in local.verify() if "link" in p.message]


def test_a_linked_file_is_not_read(local, tmp_path):
    version = local.publish(stored.data(1), "t", "F01")
    linked(os.path.join(local.root, version.blob_path), tmp_path / "file")
    with pytest.raises(OSError, match="a link, or a file"):
        local.read(version)
    assert [p.path for p in local.verify() if "symbolic" in p.message] == [
        version.blob_path
    ]


def test_the_root_itself_may_be_a_link(local, tmp_path):
    version = local.publish(stored.data(1), "t", "F01")
    (tmp_path / "link").symlink_to(local.root)
    other = submodel_store.SubmodelStore(tmp_path / "link")
    assert other.resolve("t", "F01") == version
    assert other.publish(stored.data(2), "t", "F01").number == 2


def test_a_speaker_s_folder_copied_to_another_serves_nobody(local):
    one = local.publish(stored.data(1), "t", "F01")
    two = local.publish(stored.data(2), "t", "F02")
    shutil.rmtree(os.path.join(local.root, two.folder))
    shutil.copytree(
        os.path.join(local.root, one.folder),
        os.path.join(local.root, two.folder),
    )
    with pytest.raises(submodel_store.DamagedStoreError, match="another"):
        local.resolve("t", "F02")


def test_a_pipe_in_a_file_s_place_does_not_block(local):
    version = local.publish(stored.data(1), "t", "F01")
    path = os.path.join(local.root, version.blob_path)
    os.remove(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        local.read(version)


def test_a_full_disk_loses_nothing_and_leaves_nothing(local, monkeypatch):
    old = local.publish(stored.data(1), "t", "F01")
    before = sorted(pathlib.Path(local.root).rglob("*"))
    real, room = os.replace, []

    def replace(source, target):
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for files_that_fit in range(3):
        room[:] = range(files_that_fit)
        with pytest.raises(OSError, match="No space left"):
            local.publish(stored.data(2), "t", "F01")
        assert not room
        assert local.resolve("t", "F01") == old
        assert sorted(pathlib.Path(local.root).rglob("*")) == before


def test_a_full_disk_tears_no_line_of_the_audit_log(local, monkeypatch):
    for value in range(2):
        local.publish(stored.data(value), "t", "F01")
    local.rollback("t", "F01")
    before = stored.audit_log(local)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, line: real(fd, line[:10]))
        with pytest.raises(OSError, match="No space left"):
            local.erase("t", "F01", "asked")
    assert stored.audit_log(local) == before
    assert local.resolve("t", "F01").number == 1


@pytest.mark.parametrize("moment", ["blob", "record", "pointer"])
def test_an_erase_in_a_bucket_leaves_no_half_of_a_publish(
    tmp_path, monkeypatch, moment
):
    store = submodel_store.SubmodelStore(f"ram://{tmp_path.name}/race")
    store.publish(stored.data(1), "t", "F01")
    eraser = submodel_store.SubmodelStore(store.root)
    tree = store._tree
    names = {
        "blob": submodel_file.SUFFIX,
        "record": ".json",
        "pointer": "current",
    }
    real, erased = tree.write, []

    def write(path, data):
        real(path, data)
        if names[moment] in path.rpartition("/")[2] and not erased:
            erased.append(eraser.erase("t", "F01", "asked"))

    monkeypatch.setattr(tree, "write", write)
    with pytest.raises(submodel_store.UnknownSubmodelError, match="erased"):
        store.publish(stored.data(2), "t", "F01")
    assert erased
    with pytest.raises(submodel_store.UnknownSubmodelError):
        store.resolve("t", "F01")
    assert [p for p in store.verify() if p.path != "audit"] == []
