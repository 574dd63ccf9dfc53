"""An enrolment writes whole files and overwrites nobody."""

import dataclasses
import os
import time

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import files
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.enrolment import destination as destination_lib, results
from tests import stored, tiny
from tests.tasks.asr.enrolment import enrolments


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def space(base):
    return enrolments.space(base)


def enrolled(space, speaker="ann"):
    judgement = results.Judgement({0: 1.0}, 1, 4)
    embedding = tuple(float(x) for x in np.linspace(-1, 1, space.embedding_dim))
    return results.Enrolled(
        speaker,
        "embedding",
        space.materialise(np.array(embedding)),
        embedding,
        8,
        "folds",
        {"base": judgement, "embedding": judgement},
        5,
        12.0,
        (),
    )


def test_a_result_is_an_ordinary_submodel_file(space, tmp_path):
    destination = destination_lib.Destination(str(tmp_path))
    destination.check(space, ["ann"])
    path, version = destination.write(enrolled(space), space, seed=3)
    loaded = submodel_file.load(
        path, space.metadata.base_fingerprint, space.layout
    )
    assert version is None
    assert loaded.metadata.speaker == "ann"
    assert loaded.metadata.training["space_sha256"] == space.metadata.sha256
    assert loaded.metadata.training["train_seconds_of_speech"] == 12.0
    for name, tensor in enrolled(space).tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_a_file_names_the_language_that_was_enrolled_in(space, tmp_path):
    destination = destination_lib.Destination(str(tmp_path))
    destination.check(space, ["ann"])
    result = dataclasses.replace(enrolled(space), language="de")
    path, _ = destination.write(result, space, seed=3)
    assert submodel_file.load(path).metadata.language == "de"


def test_publishing_gives_servers_the_same_bytes(space, tmp_path):
    destination = destination_lib.Destination(
        str(tmp_path / "out"), str(tmp_path / "store"), "clinic"
    )
    destination.check(space, ["ann"])
    path, version = destination.write(enrolled(space), space, seed=0)
    store = submodel_store.SubmodelStore(str(tmp_path / "store"))
    assert store.read(store.resolve("clinic", "ann")) == files.read(path)
    assert version == store.resolve("clinic", "ann")


@pytest.mark.parametrize("taken_by", ["file", "store", "space"])
def test_a_taken_id_is_refused_and_stays_as_it_is(space, tmp_path, taken_by):
    store = str(tmp_path / "store")
    first = destination_lib.Destination(str(tmp_path / "out"), store, "clinic")
    first.check(space, ["ann"])
    path, _ = first.write(enrolled(space), space, seed=0)
    before = files.read(path)
    speaker, second = "ann", first
    if taken_by == "store":
        second = destination_lib.Destination(
            str(tmp_path / "other"), store, "clinic"
        )
    if taken_by == "space":
        speaker, second = "old1", destination_lib.Destination(str(tmp_path))
    with pytest.raises(ValueError, match=f"taken already: {speaker} "):
        second.check(space, ["new", speaker])
    assert files.read(path) == before
    assert not os.path.exists(second.path("new"))


@pytest.mark.parametrize("option", ["again", "change_base"])
def test_what_the_store_refuses_is_said_before_any_work(
    space, tmp_path, option
):
    store = submodel_store.SubmodelStore(tmp_path / "store")
    if option == "again":
        store.publish(stored.data(1), "clinic", "ann")
        store.erase("clinic", "ann", "withdrew")
    else:
        store.publish(stored.data(1), "clinic", "ann")
    destination = destination_lib.Destination(
        str(tmp_path / "out"), store.root, "clinic", replace=True
    )
    with pytest.raises(ValueError, match=rf"refuses 'ann' .*\(--{option}\)"):
        destination.check(space, ["bo", "ann"])


def test_replacing_has_to_be_asked_for(space, tmp_path):
    first = destination_lib.Destination(str(tmp_path))
    first.check(space, ["ann"])
    first.write(enrolled(space), space, seed=0)
    again = destination_lib.Destination(str(tmp_path), replace=True)
    again.check(space, ["ann", "old1"])


def test_ids_that_no_store_takes_are_refused_before_any_work(space, tmp_path):
    destination = destination_lib.Destination(
        str(tmp_path / "out"), str(tmp_path / "store"), "clinic"
    )
    with pytest.raises(ValueError):
        destination.check(space, [""])
    with pytest.raises(ValueError, match="needs a tenant"):
        destination_lib.Destination(str(tmp_path), "store").check(space, ["a"])
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_what_was_there(space, tmp_path, monkeypatch):
    destination = destination_lib.Destination(str(tmp_path), replace=True)
    destination.check(space, ["ann"])
    path, _ = destination.write(enrolled(space), space, seed=0)
    before = files.read(path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        destination.write(enrolled(space), space, seed=1)
    monkeypatch.undo()
    assert files.read(path) == before
    assert os.listdir(tmp_path / "submodels") == ["ann.safetensors"]


def test_a_file_that_fails_after_its_publishing_says_both(
    space, tmp_path, monkeypatch
):
    destination = destination_lib.Destination(
        str(tmp_path / "out"), str(tmp_path / "store"), "clinic"
    )

    def full(path, made):
        raise OSError("no space left")

    monkeypatch.setattr(submodel_file, "save", full)
    with pytest.raises(OSError, match="ann is published, as .* no space left"):
        destination.write(enrolled(space), space, seed=0)
    store = submodel_store.SubmodelStore(str(tmp_path / "store"))
    assert store.resolve("clinic", "ann")


def test_who_is_taken_meanwhile_is_not_overwritten(space, tmp_path):
    ours, theirs = (destination_lib.Destination(str(tmp_path)) for _ in "ab")
    ours.check(space, ["ann"])
    path, _ = theirs.write(enrolled(space), space, seed=1)
    before = files.read(path)
    with pytest.raises(ValueError, match="taken already: ann"):
        ours.write(enrolled(space), space, seed=2)
    assert files.read(path) == before


def test_what_a_killed_process_was_writing_goes(space, tmp_path):
    destination = destination_lib.Destination(str(tmp_path))
    destination.check(space, ["ann"])
    left = tmp_path / "submodels" / f"{files.TEMPORARY_PREFIX}1"
    left.write_bytes(b"half")
    # Another call may be writing it right now.
    destination.check(space, ["ann"])
    assert left.exists()
    os.utime(left, times=(0, time.time() - 7200))
    destination.check(space, ["ann"])
    assert not left.exists()


@pytest.mark.parametrize("replace", [False, True])
def test_what_is_no_store_is_refused_before_any_work(space, tmp_path, replace):
    store = tmp_path / "store"
    store.mkdir()
    (store / "letter.txt").write_text("dear")
    destination = destination_lib.Destination(
        str(tmp_path / "out"), str(store), "clinic", replace
    )
    with pytest.raises(ValueError, match="not a Submodel store"):
        destination.check(space, ["ann"])
    assert os.listdir(store) == ["letter.txt"]


def test_a_store_that_cannot_be_written_is_refused_before_any_work(
    space, tmp_path, monkeypatch
):
    store = str(tmp_path / "store")
    destination = destination_lib.Destination(
        str(tmp_path / "out"), store, "clinic"
    )
    destination.check(space, ["ann"])
    whole = files.write_atomically

    def write(path, data):
        if path.startswith(store):
            raise PermissionError(13, "Permission denied", path)
        whole(path, data)

    monkeypatch.setattr(files, "write_atomically", write)
    with pytest.raises(PermissionError, match="Permission denied"):
        destination.check(space, ["ann"])
    monkeypatch.undo()
    # And looking leaves nothing.
    assert not list(submodel_store.SubmodelStore(store).verify())


def test_what_another_process_has_just_written_is_none_of_ours(
    space, tmp_path, monkeypatch
):
    destination = destination_lib.Destination(str(tmp_path))
    destination.check(space, ["ann"])
    (tmp_path / "submodels" / f"{files.TEMPORARY_PREFIX}1").write_bytes(b"")

    def gone(path):
        raise tf.errors.NotFoundError(None, None, f"{path}; No such file")

    monkeypatch.setattr(tf.io.gfile, "stat", gone)
    destination.check(space, ["ann"])
