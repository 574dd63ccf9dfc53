"""Verification names every problem of a store, and removes leftovers alone."""

import os
import pathlib
import re
import shutil

import pytest
import tensorflow as tf

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import stored


@pytest.fixture
def store(tmp_path):
    made = submodel_store.SubmodelStore(tmp_path / "store")
    for speaker in ("F01", "F02"):
        for value in range(2):
            made.publish(stored.data(value), "t", speaker)
    return made


def path_of(store, relative):
    return pathlib.Path(store.root, relative)


def alter(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def pointer_of(version):
    return f"{version.folder}/current.json"


PROBLEMS = {
    "a missing file": (
        lambda store, v: path_of(store, v.blob_path).unlink(),
        lambda v: v.blob_path,
        "missing: the file of version 2 of 'F01'",
    ),
    "an altered file": (
        lambda store, v: alter(path_of(store, v.blob_path)),
        lambda v: v.blob_path,
        "altered: its SHA-256 is",
    ),
    "a pointer to nothing": (
        lambda store, v: path_of(store, v.record_path).unlink(),
        lambda v: pointer_of(v),
        "points to version 2-.*, which is not there",
    ),
    "a damaged pointer": (
        lambda store, v: path_of(store, pointer_of(v)).write_text("{"),
        lambda v: pointer_of(v),
        "damaged: .*erase the speaker",
    ),
    "a pointer that differs from its record": (
        lambda store, v: rewrite(
            path_of(store, pointer_of(v)), v.base_fingerprint, "cd" * 32
        ),
        lambda v: pointer_of(v),
        "differs from the record",
    ),
    "a damaged record": (
        lambda store, v: path_of(store, v.record_path).write_text("[]"),
        lambda v: v.record_path,
        "damaged: must be a JSON object",
    ),
    "a record of another length": (
        lambda store, v: [
            rewrite(
                path_of(store, path),
                f'"num_bytes": {v.num_bytes}',
                '"num_bytes": 7',
            )
            for path in (v.record_path, pointer_of(v))
        ],
        lambda v: v.record_path,
        "altered: the SHA-256 must be",
    ),
    "a record under another number": (
        lambda store, v: path_of(store, v.record_path).rename(
            path_of(store, v.record_path.replace("v000002", "v000001"))
        ),
        lambda v: v.record_path.replace("v000002", "v000001"),
        "the record of another version",
    ),
    "a stray file at the top": (
        lambda store, v: path_of(store, "notes.txt").write_text(""),
        lambda v: "notes.txt",
        "stray",
    ),
    "a stray file of a tenant": (
        lambda store, v: path_of(store, "tenants/zz").write_text(""),
        lambda v: "tenants/zz",
        "stray: a file",
    ),
    "a stray file of a speaker": (
        lambda store, v: path_of(store, f"{v.folder}/a~").write_text(""),
        lambda v: f"{v.folder}/a~",
        "stray: a file",
    ),
    "a stray folder of a speaker": (
        lambda store, v: path_of(store, f"{v.folder}/old").mkdir(),
        lambda v: f"{v.folder}/old",
        "stray: a folder",
    ),
    "a pipe": (
        lambda store, v: os.mkfifo(path_of(store, f"{v.folder}/pipe")),
        lambda v: f"{v.folder}/pipe",
        "stray: a pipe or device",
    ),
    "a link to a folder": (
        lambda store, v: os.symlink(
            path_of(store, v.folder), path_of(store, "tenants/" + "0" * 64)
        ),
        lambda v: "tenants/" + "0" * 64,
        "a symbolic link",
    ),
    "a speaker in another folder": (
        lambda store, v: shutil.move(
            path_of(store, v.folder),
            path_of(store, v.folder.rpartition("/")[0]) / ("0" * 64),
        ),
        lambda v: v.folder.rpartition("/")[0] + "/" + "0" * 64,
        "the speaker of another folder",
    ),
    "a damaged line of the audit log": (
        lambda store, v: path_of(store, "audit.jsonl").write_text('{"at": \n'),
        lambda v: "audit.jsonl",
        "line 1 is damaged",
    ),
}


def test_a_whole_store_has_no_problem(store):
    store.rollback("t", "F01")
    store.erase("t", "F02", "asked")
    assert list(store.verify()) == []


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_names(store, name):
    break_it, path, message = PROBLEMS[name]
    version = store.resolve("t", "F01")
    break_it(store, version)
    problems = list(store.verify())
    found = {problem.path: problem for problem in problems}
    assert re.search(message, found[path(version)].message)
    assert len(problems) <= 3
    assert not any(problem.is_leftover for problem in problems)
    # Removing leftovers mends none of this, and takes nothing away.
    before = sorted(pathlib.Path(store.root).rglob("*"))
    assert list(store.verify(remove_leftovers=True)) == problems
    assert sorted(pathlib.Path(store.root).rglob("*")) == before


def test_the_file_that_serves_is_kept_even_if_its_record_is_lost(store):
    version = store.resolve("t", "F01")
    path_of(store, version.record_path).unlink()
    list(store.verify(remove_leftovers=True))
    assert store.read(store.resolve("t", "F01")) == stored.data(1)
    store.publish(stored.data(1), "t", "F01")
    assert list(store.verify()) == []


def test_it_goes_on_after_a_problem(store):
    for speaker in ("F01", "F02"):
        path_of(store, store.resolve("t", speaker).blob_path).unlink()
    assert len(list(store.verify())) == 2


def leave(store):
    """All that killed writers can leave, and their paths."""
    version = store.resolve("t", "F01")
    other = stored.data(9)
    made = {
        ".writing-0123456789abcdef": b"half",
        f"{version.folder}/.writing-0123456789abcdef": b"half",
        f"{version.folder}/{'0' * 64}{submodel_file.SUFFIX}": other,
        f"{version.folder}/v000003-{'0' * 12}.json": b"{}",
    }
    for path, data in made.items():
        path_of(store, path).write_bytes(data)
    return set(made)


def test_leftovers_are_named_and_removed_when_asked(store):
    contents = {
        (v.tenant, v.speaker, v.name): store.read(v) for v in store.current()
    }
    made = leave(store)
    problems = list(store.verify())
    assert {p.path for p in problems} == made
    assert all(p.is_leftover and not p.is_removed for p in problems)
    removed = list(store.verify(remove_leftovers=True))
    assert {p.path for p in removed if p.is_removed} == made
    assert list(store.verify()) == []
    assert contents == {
        (v.tenant, v.speaker, v.name): store.read(v) for v in store.current()
    }


def test_half_a_line_of_the_audit_log_is_a_leftover_and_cut(store):
    store.erase("t", "F01", "asked")
    before = stored.audit_log(store)
    path = path_of(store, "audit.jsonl")
    half = b'{"at": "2026", "reason": "\xc3'
    path.write_bytes(path.read_bytes() + half)
    (problem,) = store.verify()
    assert (problem.path, problem.is_leftover) == ("audit.jsonl", True)
    assert problem.message == "half a line, left by a writer that was killed"
    assert path.read_bytes().endswith(half)
    (problem,) = store.verify(remove_leftovers=True)
    assert problem.is_removed
    *lines, said = stored.audit_log(store)
    assert lines == before
    assert (said["event"], said["state"]) == ("mend", "done")
    assert said["cut"] == '{"at": "2026", "reason": "\ufffd'
    assert list(store.verify()) == []


def test_leftovers_are_never_versions(store):
    leave(store)
    assert [v.number for v in store.versions("t", "F01")] == [1, 2]
    with pytest.raises(submodel_store.UnknownSubmodelError):
        store.rollback("t", "F01", 3)


def test_the_next_publish_sweeps_up(store):
    made = leave(store)
    assert store.publish(stored.data(5), "t", "F01").number == 3
    assert {p.path for p in store.verify()} == {
        path for path in made if "/" not in path
    }


def test_what_an_erase_left_that_was_cut_off_is_unknown_and_goes(store):
    version = store.resolve("t", "F01")
    path_of(store, pointer_of(version)).unlink()
    with pytest.raises(submodel_store.UnknownSubmodelError):
        store.resolve("t", "F01")
    assert all(p.is_leftover for p in store.verify())
    assert len(list(store.verify(remove_leftovers=True))) == 4
    assert not path_of(store, version.folder).exists()
    version = store.resolve("t", "F02")
    path_of(store, pointer_of(version)).unlink()
    assert store.erase("t", "F02", "again") == 2
    assert list(store.verify()) == []
    assert stored.speakers(store, "t") == []


def test_an_empty_folder_is_a_leftover(store):
    version = store.resolve("t", "F01")
    store.erase("t", "F01", "asked")
    path_of(store, version.folder).mkdir()
    assert [p.path for p in store.verify()] == [version.folder]
    assert next(store.verify(remove_leftovers=True)).is_removed
    assert list(store.verify()) == []


def test_a_bucket_is_verified_too(tmp_path):
    store = submodel_store.SubmodelStore(f"ram://{tmp_path.name}/verify")
    version = store.publish(stored.data(1), "t", "F01")
    store.erase("t", store.publish(stored.data(1), "t", "F02").speaker, "x")
    assert list(store.verify()) == []
    tf.io.gfile.remove(f"{store.root}/{version.blob_path}")
    assert [p.path for p in store.verify()] == [version.blob_path]
