"""A store gives back what was published, and forgets what was erased."""

import os
import pathlib

import pytest
import tensorflow as tf

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import stored

BAD_IDS = (
    "",
    ".",
    "..",
    "../F01",
    "a/../b",
    "a..b",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "-rf",
    ".hidden",
    "F01\n",
    "F01\0",
    "F 01",
    "%2e%2e%2fF01",
    "F\u043e1",
    "\uff26\uff10\uff11",
    "F01\u200b",
    "e\u0301",
    "gs://bucket",
    "a" * 129,
    b"F01",
    None,
    1,
)


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"ram://{tmp_path.name}/store"


@pytest.fixture
def store(root):
    return submodel_store.SubmodelStore(root)


@pytest.fixture
def local(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def test_what_is_published_is_resolved_and_read(store):
    first = store.publish(stored.data(1), "clinic", "F01")
    assert store.resolve("clinic", "F01") == first
    second = store.publish(stored.data(2), "clinic", "F01")
    assert store.resolve("clinic", "F01") == second
    assert (first.number, second.number) == (1, 2)
    assert store.read(first) == stored.data(1)
    assert store.read(second) == stored.data(2)
    assert store.versions("clinic", "F01") == [first, second]
    assert second.base_fingerprint == stored.FINGERPRINT
    assert second.num_bytes == len(stored.data(2))
    assert second.name == f"2-{second.sha256[:12]}"
    assert second.published_at.endswith("+00:00")


def test_another_object_on_the_same_root_sees_the_same(store):
    version = store.publish(
        stored.data(1), "clinic", "F01", stored.gate(stored.data(1))
    )
    other = submodel_store.SubmodelStore(store.root)
    assert other.resolve("clinic", "F01") == version
    assert version.gate == stored.gate(stored.data(1))


def test_publishing_the_current_bytes_again_changes_nothing(store):
    first = store.publish(stored.data(1), "clinic", "F01")
    assert store.publish(stored.data(1), "clinic", "F01") == first
    store.publish(stored.data(2), "clinic", "F01")
    third = store.publish(stored.data(1), "clinic", "F01")
    assert (third.number, third.sha256) == (3, first.sha256)


def test_speakers_and_tenants_are_kept_apart(store):
    for tenant, speaker in (("a", "F01"), ("a", "f01"), ("b", "F01")):
        store.publish(stored.data(len(speaker)), tenant, speaker)
    assert stored.speakers(store, "a") == ["F01", "f01"]
    assert stored.speakers(store, "b") == ["F01"]
    assert stored.speakers(store, "c") == []
    found = {(v.tenant, v.speaker) for v in store.current()}
    assert found == {("a", "F01"), ("a", "f01"), ("b", "F01")}
    with pytest.raises(submodel_store.UnknownSubmodelError, match="'f01'.*'b'"):
        store.resolve("b", "f01")


def test_paths_do_not_differ_in_case_alone(local):
    for speaker in ("F01", "f01"):
        local.publish(stored.data(), "a", speaker)
    paths = list(pathlib.Path(local.root).rglob("*"))
    assert len({str(path).lower() for path in paths}) == len(paths)
    assert not [path for path in paths if "F01" in path.name]


def test_an_id_that_is_not_plain_is_refused_everywhere(local):
    local.publish(stored.data(), "t", "F01")
    before = sorted(pathlib.Path(local.root).rglob("*"))
    acts = (
        lambda bad: local.publish(stored.data(), bad, "F01"),
        lambda bad: local.publish(stored.data(), "t", bad),
        lambda bad: local.resolve(bad, "F01"),
        lambda bad: local.resolve("t", bad),
        lambda bad: local.versions("t", bad),
        lambda bad: local.rollback("t", bad),
        lambda bad: local.erase("t", bad, "asked"),
        # None is every tenant.
        lambda bad: stored.speakers(local, bad or ""),
    )
    for bad in BAD_IDS:
        for act in acts:
            with pytest.raises(
                submodel_store.InvalidIdError, match="id must be"
            ):
                act(bad)
    assert sorted(pathlib.Path(local.root).rglob("*")) == before


@pytest.mark.parametrize("good", ["F01", "0", "a.b-c_d", "a" * 128, "A."])
def test_plain_ids_are_taken(good):
    assert submodel_store.check_id("speaker", good) == good


def test_an_id_in_a_message_is_short_and_plain():
    with pytest.raises(submodel_store.InvalidIdError) as caught:
        submodel_store.check_id("speaker", "\u043e" * 10_000)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()


def test_what_is_no_submodel_is_refused_and_nothing_is_made(local):
    for broken in (b"", b"\x80\x04.", stored.data()[:-1], b"{}" * 100):
        with pytest.raises(submodel_file.SubmodelError):
            local.publish(broken, "t", "F01")
    assert not os.path.exists(local.root)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"high": 0.0}, r"-30.0 points has the 95 % interval -35.0 to \+0.0"),
        ({"high": 2.5}, "50.0 % of the base, 20.0 % of the Submodel"),
        ({"change_points": 3.0, "low": 1.0, "high": 4.0}, r"\+3.0 points"),
        ({"high": float("nan")}, "must lie below 0"),
        ({"num_utterances": 5}, "at least 6 utterances"),
        ({"speaker": "F02"}, "speaker is 'F02', not 'F01'"),
        ({"base_fingerprint": "cd"}, "base_fingerprint is 'cd'"),
        ({"sha256": "ef"}, "sha256 is 'ef'"),
    ],
)
def test_the_gate_refuses_and_says_the_figures(local, changes, message):
    old = local.publish(stored.data(1), "t", "F01", stored.gate(stored.data(1)))
    with pytest.raises(submodel_store.GateError, match=message):
        local.publish(
            stored.data(2), "t", "F01", stored.gate(stored.data(2), **changes)
        )
    assert local.versions("t", "F01") == [old]


def test_a_rollback_moves_the_pointer_and_leaves_a_record(local):
    first, second, third = (
        local.publish(stored.data(value), "t", "F01") for value in range(3)
    )
    assert local.rollback("t", "F01", by="ann") == second
    assert local.resolve("t", "F01") == second
    assert local.versions("t", "F01") == [first, second, third]
    assert local.rollback("t", "F01") == first
    assert local.rollback("t", "F01", 3) == third
    lines = stored.audit_log(local)
    assert [line["state"] for line in lines] == ["begun", "done"] * 3
    assert lines[1]["by"] == "ann"
    assert (lines[1]["from"], lines[1]["to"]) == (third.name, second.name)
    assert lines[1]["at"] >= third.published_at


def test_a_version_after_a_rollback_gets_a_new_number(store):
    for value in range(2):
        store.publish(stored.data(value), "t", "F01")
    store.rollback("t", "F01")
    assert store.publish(stored.data(5), "t", "F01").number == 3
    assert store.rollback("t", "F01").number == 1


def test_a_rollback_goes_to_what_was_served_before(store):
    first = store.publish(stored.data(1), "t", "F01")
    store.publish(stored.data(2), "t", "F01")
    assert store.rollback("t", "F01") == first
    third = store.publish(stored.data(3), "t", "F01")
    # The second was withdrawn, and stays so.
    assert store.rollback("t", "F01") == first
    with pytest.raises(
        submodel_store.UnknownSubmodelError, match="no version before 1-"
    ):
        store.rollback("t", "F01")
    assert store.rollback("t", "F01", 3) == third
    assert store.rollback("t", "F01") == first
    # Unless somebody asks for it.
    assert store.rollback("t", "F01", 2).number == 2
    fourth = store.publish(stored.data(4), "t", "F01")
    assert store.rollback("t", "F01").number == 2
    assert store.publish(stored.data(5), "t", "F01").number == 5
    assert store.rollback("t", "F01", 4) == fourth
    assert store.rollback("t", "F01").number == 2
    assert store.rollback("t", "F01") == first
    assert list(store.verify()) == []


def test_another_base_model_has_to_be_asked_for(store):
    first = store.publish(stored.data(1), "t", "F01")
    other = stored.data(2, base_fingerprint="cd" * 32)
    for act in (
        lambda: store.publish(other, "t", "F01"),
        lambda: store.check_publish("t", "F01", "cd" * 32),
    ):
        with pytest.raises(
            submodel_store.RefusedError,
            match="version 1-.* base model abababababab; .* cdcdcdcdcdcd",
        ) as caught:
            act()
        assert caught.value.option == "change_base"
    assert store.resolve("t", "F01") == first
    store.check_publish("t", "F01", first.base_fingerprint)
    assert store.publish(other, "t", "F01", change_base=True).number == 2
    # Back again is a change too, and a rollback is not asked.
    with pytest.raises(submodel_store.RefusedError):
        store.publish(stored.data(3), "t", "F01")
    assert store.rollback("t", "F01") == first


def test_who_was_erased_is_published_only_when_asked_for_again(store):
    for speaker in ("F01", "F011", "F02"):
        store.publish(stored.data(1), "t", speaker)
    store.erase("t", "F01", "withdrew")
    for act in (
        lambda: store.publish(stored.data(1), "t", "F01"),
        lambda: store.check_publish("t", "F01", stored.FINGERPRINT),
    ):
        with pytest.raises(
            submodel_store.RefusedError, match="erased at 2.*withdrew"
        ) as caught:
            act()
        assert caught.value.option == "again"
    assert stored.speakers(store, "t") == ["F011", "F02"]
    assert list(store.verify()) == []
    # Nobody else is asked, nor is the same id of another tenant.
    store.publish(stored.data(2), "t", "F011")
    store.publish(stored.data(1), "u", "F01")
    assert store.publish(stored.data(1), "t", "F01", again=True).number == 1
    assert store.publish(stored.data(2), "t", "F01").number == 2
    store.erase("t", "F01", "once more")
    with pytest.raises(submodel_store.RefusedError, match="once more"):
        submodel_store.SubmodelStore(store.root).publish(
            stored.data(1), "t", "F01"
        )


def test_the_path_of_a_published_file_is_kept(store):
    version = store.publish(stored.data(1), "t", "F01", source="runs/F01.x")
    assert store.resolve("t", "F01") == version
    assert store.versions("t", "F01")[0].source == "runs/F01.x"
    with pytest.raises(ValueError, match="the source's path is too long"):
        store.publish(stored.data(2), "t", "F01", source="x" * (1 << 16))
    assert store.versions("t", "F01") == [version]


def test_there_is_no_rolling_back_to_what_is_not_there(local):
    version = local.publish(stored.data(1), "t", "F01")
    unknown = submodel_store.UnknownSubmodelError
    with pytest.raises(unknown, match="no version before 1-"):
        local.rollback("t", "F01")
    with pytest.raises(unknown, match="no version 7. It has 1."):
        local.rollback("t", "F01", 7)
    with pytest.raises(unknown, match="no Submodel of 'F02'"):
        local.rollback("t", "F02")
    local.publish(stored.data(2), "t", "F01")
    os.remove(os.path.join(local.root, version.blob_path))
    with pytest.raises(submodel_store.DamagedStoreError):
        local.rollback("t", "F01")
    assert local.resolve("t", "F01").number == 2


def test_erasing_leaves_nothing_but_lines_in_the_audit_log(local):
    for value in range(3):
        version = local.publish(stored.data(value), "t", "F01")
    assert local.erase("t", "F01", "asked by \u00e9 \n", by="ann") == 3
    unknown = submodel_store.UnknownSubmodelError
    for act in (
        lambda: local.resolve("t", "F01"),
        lambda: local.read(version),
        lambda: local.versions("t", "F01"),
        lambda: local.rollback("t", "F01"),
        lambda: local.erase("t", "F01", "again"),
    ):
        with pytest.raises(unknown):
            act()
    left = [p for p in pathlib.Path(local.root).rglob("*") if p.is_file()]
    names = {"store.json", "audit.jsonl", "audit.reserve", ".lock"}
    assert {p.name for p in left} == names
    begun, done = stored.audit_log(local)
    assert begun["id"] == done["id"]
    assert (begun["state"], done["state"]) == ("begun", "done")
    assert done["reason"] == "asked by \u00e9 \n"
    assert (done["by"], done["speaker"]) == ("ann", "F01")
    assert done["num_versions"] == 3
    again = local.publish(stored.data(1), "t", "F01", again=True)
    assert again.number == 1


def test_erasing_takes_nothing_from_others_with_the_same_bytes(store):
    for tenant, speaker in (("a", "F01"), ("a", "F02"), ("b", "F01")):
        store.publish(stored.data(), tenant, speaker)
    assert store.erase("a", "F01", "asked") == 1
    for tenant, speaker in (("a", "F02"), ("b", "F01")):
        version = store.resolve(tenant, speaker)
        assert store.read(version) == stored.data()
    assert list(store.verify()) == []


def test_who_is_in_no_store_can_be_logged_as_erased(store):
    store.publish(stored.data(), "t", "F02")
    assert store.erase("t", "F01", "withdrew", missing_ok=True) == 0
    assert store.erase("t", "F01", "withdrew", missing_ok=True) == 0
    assert list(store.verify()) == []
    with pytest.raises(submodel_store.RefusedError, match="withdrew"):
        store.publish(stored.data(), "t", "F01")


def test_erasing_needs_a_reason(local):
    local.publish(stored.data(), "t", "F01")
    for reason in ("", " \n", "x" * 1001):
        with pytest.raises(ValueError, match="1 to 1000 characters"):
            local.erase("t", "F01", reason)
    assert local.resolve("t", "F01").number == 1


def test_a_damaged_pointer_can_still_be_erased(local):
    version = local.publish(stored.data(), "t", "F01")
    path = pathlib.Path(local.root, version.folder, "current.json")
    path.write_text("{")
    for act in (
        lambda: local.resolve("t", "F01"),
        lambda: local.publish(stored.data(1), "t", "F01"),
    ):
        with pytest.raises(submodel_store.DamagedStoreError, match="damaged"):
            act()
    assert pathlib.Path(local.root, version.blob_path).exists()
    assert local.erase("t", "F01", "damaged") == 1


def test_an_altered_file_is_not_read_and_mended_by_publishing(store):
    version = store.publish(stored.data(1), "t", "F01")
    with tf.io.gfile.GFile(f"{store.root}/{version.blob_path}", "wb") as file:
        file.write(stored.data(2))
    with pytest.raises(submodel_store.DamagedStoreError, match="altered"):
        store.read(version)
    assert store.publish(stored.data(1), "t", "F01") == version
    assert store.read(version) == stored.data(1)


def test_resolving_lists_nothing(local, monkeypatch):
    version = local.publish(stored.data(), "t", "F01")

    def refuse(*_, **__):
        raise AssertionError("a folder was listed")

    for name in ("listdir", "scandir", "walk"):
        monkeypatch.setattr(os, name, refuse)
    assert local.resolve("t", "F01") == version
    assert local.read(version) == stored.data()


def test_a_missing_store_is_no_unknown_speaker(store):
    for act in (
        lambda: store.resolve("t", "F01"),
        lambda: store.erase("t", "F01", "asked"),
        lambda: stored.speakers(store, "t"),
        lambda: list(store.verify()),
    ):
        with pytest.raises(FileNotFoundError, match="no Submodel store is"):
            act()
    version = store.publish(stored.data(), "t", "F01")
    store.resolve("t", "F01")
    tf.io.gfile.rmtree(store.root)
    for act in (
        lambda: store.resolve("t", "F01"),
        lambda: store.read(version),
    ):
        with pytest.raises(FileNotFoundError, match="no Submodel store is"):
            act()


def test_a_folder_of_something_else_is_not_made_a_store(local):
    os.makedirs(local.root)
    pathlib.Path(local.root, "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not empty: 'thesis.tex' is there"):
        local.publish(stored.data(), "t", "F01")
    assert os.listdir(local.root) == ["thesis.tex"]


@pytest.mark.parametrize(
    "text, error, message",
    [
        ('{"format_version": 1}', ValueError, "must be 2. Received: 1"),
        ("[]", OSError, "damaged"),
        ("", OSError, "damaged"),
    ],
)
def test_a_store_of_another_format_is_refused(local, text, error, message):
    local.publish(stored.data(), "t", "F01")
    pathlib.Path(local.root, "store.json").write_text(text)
    other = submodel_store.SubmodelStore(local.root)
    with pytest.raises(error, match=message):
        other.resolve("t", "F01")
    with pytest.raises(error, match=message):
        other.publish(stored.data(1), "t", "F01")
