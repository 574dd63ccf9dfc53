"""A store whose files were changed, linked, or not written in full."""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil

import pytest

from lingvo_like.store import records, store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import stored


@pytest.fixture
def local(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def _seal(name):
    return {"name": name, "sha256": "ab" * 32}


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
        (_set(format_version=1), "must be 2. Received: 1"),
        (_set(latest=_seal("0-" + "a" * 12)), "must be that of a version"),
        (_set(latest=_seal("1-../../../..")), "must be that of a version"),
        (_set(latest=_seal(1)), "must be that of a version"),
        (_set(latest={"name": "1-" + "a" * 12}), "sha256"),
        (_set(latest={**_seal("1-" + "a" * 12), "sha256": 1}), "hexadecimal"),
        (_set(latest=1), "mapping"),
        (_set_version(replaced=_seal("1-" + "a" * 12)), "must be before"),
        (_set_version(follows=_seal("2-" + "a" * 12)), "must be before"),
        (_set_version(source=None), "must be a string"),
        (_set(more=1), "more"),
        (_set(version=[]), "must be a JSON object"),
        (lambda fields: {"format_version": 2, "latest": 1}, "version"),
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


def test_a_full_disk_leaves_nothing_of_a_first_publish(local, monkeypatch):
    local.publish(stored.data(1), "t", "F01")
    before = sorted(pathlib.Path(local.root).rglob("*"))

    def replace(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="No space left"):
            local.publish(stored.data(1), "t", "F02")
    after = set(pathlib.Path(local.root).rglob("*")) - set(before)
    # The folder of a prefix, with its lock, is no speaker's.
    assert all(len(path.name) == 2 or path.name == ".lock" for path in after)
    assert list(local.verify()) == []


class FullDisk:
    """Lets `os.write` write what fits, and count what removing gives back."""

    def __init__(self, monkeypatch, room=0):
        self.room, self._real = room, os.write
        monkeypatch.setattr(os, "write", self._write)
        self._unlink, self._rmtree = os.unlink, shutil.rmtree
        monkeypatch.setattr(os, "unlink", self._remove)
        self.freed_by_data = True
        monkeypatch.setattr(shutil, "rmtree", self._remove_tree)

    def _write(self, descriptor, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._real(descriptor, data[: self.room])
        self.room -= written
        return written

    def _remove(self, name, *, dir_fd=None):
        info = os.lstat(name, dir_fd=dir_fd)
        self._unlink(name, dir_fd=dir_fd)
        if name == "audit.reserve":
            self.room += info.st_size

    def _remove_tree(self, path, **kwargs):
        self._rmtree(path, **kwargs)
        if self.freed_by_data:
            self.room += 1 << 20


def files_of(store, speaker_folder):
    return list(pathlib.Path(store.root, speaker_folder).glob("*"))


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_stops_no_erasure_and_no_line_of_it(
    local, monkeypatch, room
):
    version = local.publish(stored.data(1), "t", "F01")
    with monkeypatch.context() as patch:
        disk = FullDisk(patch, room)
        disk.freed_by_data = False
        assert local.erase("t", "F01", "asked") == 1
    assert [line["state"] for line in stored.audit_log(local)] == [
        "begun",
        "done",
    ]
    assert files_of(local, version.folder) == []
    assert list(local.verify()) == []
    # The next publish keeps room again.
    local.publish(stored.data(1), "t", "F02")
    assert os.path.getsize(os.path.join(local.root, "audit.reserve")) == 1 << 16


def test_an_erasure_keeps_room_for_the_next_one(local, monkeypatch):
    for speaker in ("F01", "F02", "F03"):
        local.publish(stored.data(1), "t", speaker)
    FullDisk(monkeypatch)
    for speaker in ("F01", "F02", "F03"):
        local.erase("t", speaker, "asked " * 160)
    monkeypatch.undo()
    assert len(stored.audit_log(local)) == 6
    assert os.path.getsize(os.path.join(local.root, "audit.reserve")) == 1 << 16


def test_without_the_reserve_the_data_goes_first(local, monkeypatch):
    version = local.publish(stored.data(1), "t", "F01")
    os.remove(os.path.join(local.root, "audit.reserve"))
    with monkeypatch.context() as patch:
        FullDisk(patch)
        local.erase("t", "F01", "asked")
    assert [line["state"] for line in stored.audit_log(local)] == ["done"]
    assert files_of(local, version.folder) == []


def test_an_erasure_that_cannot_be_logged_is_done_and_says_the_line(
    local, monkeypatch
):
    version = local.publish(stored.data(1), "t", "F01")
    os.remove(os.path.join(local.root, "audit.reserve"))
    with monkeypatch.context() as patch:
        FullDisk(patch).freed_by_data = False
        with pytest.raises(OSError, match='no room for the .*"done".*"F01"'):
            local.erase("t", "F01", "asked")
    assert files_of(local, version.folder) == []
    assert stored.audit_log(local) == []
    assert list(local.verify()) == []


def test_a_full_disk_stops_a_rollback_and_tears_no_line(local, monkeypatch):
    for value in range(2):
        local.publish(stored.data(value), "t", "F01")
    local.rollback("t", "F01")
    before = stored.audit_log(local)
    with monkeypatch.context() as patch:
        FullDisk(patch, room=10)
        with pytest.raises(OSError, match="No space left"):
            local.rollback("t", "F01", 2)
    assert stored.audit_log(local) == before
    assert local.resolve("t", "F01").number == 1
    # What is kept for erasures is not touched.
    assert os.path.getsize(os.path.join(local.root, "audit.reserve")) == 1 << 16


def edit_record(store, version, **changes):
    path = pathlib.Path(store.root, version.record_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"base_fingerprint": "cd" * 32},
        {"published_at": "2020-01-01T00:00:00.000+00:00"},
        {"source": "elsewhere"},
        {"gate": "forged"},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_older", [True, False])
def test_an_edited_record_is_found_and_not_rolled_back_to(
    local, changes, is_older
):
    for value in range(1, 4):
        version = local.publish(stored.data(value), "t", "F01")
        if value == 2:
            edited = version
    if "gate" in changes:
        forged = stored.gate(stored.data(2))
        changes = {"gate": vars(forged)}
    if not is_older:
        # The serving one is older than the latest.
        local.rollback("t", "F01", 2)
        local.rollback("t", "F01", 1)
    edit_record(local, edited, **changes)
    problems = list(local.verify())
    assert [p.path for p in problems] == [edited.record_path]
    assert "altered: the SHA-256 must be" in problems[0].message
    for number in (2, None) if is_older else (2,):
        with pytest.raises(submodel_store.DamagedStoreError, match="altered"):
            local.rollback("t", "F01", number)
    assert local.resolve("t", "F01").number == (3 if is_older else 1)


def test_publishing_the_current_bytes_again_mends_an_edited_record(local):
    local.publish(stored.data(1), "t", "F01")
    version = local.publish(stored.data(2), "t", "F01")
    edit_record(local, version, base_fingerprint="cd" * 32)
    assert local.publish(stored.data(2), "t", "F01") == version
    assert list(local.verify()) == []
    # An edited pointer does not pass for the record.
    path = pathlib.Path(local.root, version.folder, "current.json")
    fields = json.loads(path.read_text())
    fields["version"]["source"] = "forged"
    path.write_text(json.dumps(fields))
    local.publish(stored.data(2), "t", "F01")
    assert [p.message for p in local.verify()] == [
        f"differs from the record of version {version.name}; a rollback to 2 "
        "writes it again"
    ]
    assert local.rollback("t", "F01", 2) == version
    assert local.resolve("t", "F01") == version
    assert list(local.verify()) == []


def test_a_lost_record_is_found_and_named_by_a_rollback(local):
    versions = [local.publish(stored.data(v), "t", "F01") for v in range(3)]
    os.remove(os.path.join(local.root, versions[1].record_path))
    (problem,) = local.verify()
    assert problem.path == versions[1].record_path
    assert problem.message.startswith("missing: restore the record")
    for number in (None, 1):
        with pytest.raises(
            submodel_store.DamagedStoreError,
            match=f"{versions[1].record_path}: missing: restore",
        ):
            local.rollback("t", "F01", number)
    assert local.resolve("t", "F01") == versions[2]
    # What the record needs to be restored stays.
    local.publish(stored.data(3), "t", "F01")
    assert local.read(versions[1]) == stored.data(1)


def test_a_record_that_nobody_published_is_a_stray_one(local):
    version = local.publish(stored.data(1), "t", "F01")
    local.publish(stored.data(2), "t", "F01")
    copy = dataclasses.replace(version, published_at="never")
    name = version.record_path.replace(version.sha256[:12], "0" * 12)
    copy = dataclasses.replace(copy, sha256="0" * 12 + version.sha256[12:])
    pathlib.Path(local.root, name).write_bytes(records.to_json(copy))
    assert [(p.path, p.message) for p in local.verify()] == [
        (name, "stray: no other record names it")
    ]


def forge(store, version, data, **changes):
    """Puts other bytes and their record in a version's place, pointer too."""
    forged = dataclasses.replace(
        version,
        sha256=hashlib.sha256(data).hexdigest(),
        num_bytes=len(data),
        **changes,
    )
    for path in (version.blob_path, version.record_path):
        os.remove(os.path.join(store.root, path))
    for path, content in (
        (forged.blob_path, data),
        (forged.record_path, records.to_json(forged)),
        (
            f"{forged.folder}/current.json",
            records.to_json(records.Pointer(forged, forged.seal)),
        ),
    ):
        pathlib.Path(store.root, path).write_bytes(content)
    return forged


def test_a_file_altered_together_with_its_records_is_found_by_its_own_hash(
    local,
):
    version = local.publish(stored.data(1), "t", "F01")
    data = bytearray(stored.data(1))
    data[-1] ^= 1
    forged = forge(local, version, bytes(data))
    assert local.read(local.resolve("t", "F01")) == data
    with pytest.raises(submodel_file.SubmodelError, match="altered"):
        submodel_file.load(bytes(data))
    (problem,) = local.verify()
    assert problem.path == forged.blob_path
    assert "altered: the SHA-256 must be" in problem.message
    # Nor is it rolled back to.
    local.publish(stored.data(2), "t", "F01")
    with pytest.raises(submodel_store.DamagedStoreError, match="altered"):
        local.rollback("t", "F01")


@pytest.mark.parametrize("field", ["base_fingerprint", "gate"])
def test_a_record_is_held_against_its_file_even_if_all_records_agree(
    local, field
):
    version = local.publish(stored.data(1), "t", "F01")
    changes = {
        "base_fingerprint": {"base_fingerprint": "cd" * 32},
        "gate": {"gate": stored.gate(stored.data(2))},
    }[field]
    forged = forge(local, version, stored.data(1), **changes)
    assert [p.path for p in local.verify()] == [forged.record_path]
    assert "contradicts its file" in next(local.verify()).message
    local.publish(stored.data(2), "t", "F01", change_base=True)
    with pytest.raises(
        submodel_store.DamagedStoreError, match="must be|another"
    ):
        local.rollback("t", "F01")


def test_a_length_is_held_against_its_file(local):
    version = local.publish(stored.data(1), "t", "F01")
    wrong = dataclasses.replace(version, num_bytes=7)
    pathlib.Path(local.root, version.record_path).write_bytes(
        records.to_json(wrong)
    )
    pathlib.Path(local.root, version.folder, "current.json").write_bytes(
        records.to_json(records.Pointer(wrong, wrong.seal))
    )
    (problem,) = local.verify()
    assert problem.path == version.blob_path
    assert "must have 7 bytes. Received: " in problem.message


@pytest.mark.parametrize("name", ["current.json", "record", "blob"])
def test_what_a_folder_stands_for_can_be_erased(local, name):
    version = local.publish(stored.data(1), "t", "F01")
    path = {
        "current.json": f"{version.folder}/current.json",
        "record": version.record_path,
        "blob": version.blob_path,
    }[name]
    path = pathlib.Path(local.root, path)
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("")
    assert [p for p in local.verify() if str(path).endswith(p.path)]
    local.erase("t", "F01", "damaged")
    assert files_of(local, version.folder) == []
    assert list(local.verify()) == []


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


def test_no_altered_byte_of_a_record_or_pointer_goes_unnoticed(local):
    for value in range(1, 4):
        data = stored.data(value)
        local.publish(data, "t", "F01", stored.gate(data), source="runs/x")
    local.rollback("t", "F01")
    folder = pathlib.Path(local.root, local.resolve("t", "F01").folder)
    paths = sorted(folder.glob("*.json"))
    assert len(paths) == 4
    for path in paths:
        before = path.read_bytes()
        for position in range(0, len(before), 113):
            data = bytearray(before)
            data[position] ^= 1
            path.write_bytes(data)
            try:
                is_same = json.loads(data) == json.loads(before)
            except ValueError:
                is_same = False
            # Of a pointer the meaning is held, not the spelling.
            is_harmless = is_same and path.name == "current.json"
            assert bool(list(local.verify())) != is_harmless, position
        path.write_bytes(before)
    assert list(local.verify()) == []
