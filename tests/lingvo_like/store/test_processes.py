"""A store stays whole under kills at any point and many processes at once.

Children are forked: they share nothing with each other but the store.
"""

import collections
import contextlib
import errno
import fcntl
import os
import pathlib
import signal
import sys
import tempfile
import time

import pytest

from lingvo_like.store import local_files, store as submodel_store
from tests import stored

# What changes the disk, and what waits for others.
EVENTS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "fcntl.flock",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch):
    """A kill loses nothing that was written, and syncing takes long."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def store(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def fork(function):
    """Runs a function in a child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function()
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_before(number):
    """Lets this process kill itself before its n-th step on files."""
    steps = iter(range(number))

    def step():
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in EVENTS or (event == "open" and arguments[2] & WRITING):
            step()

    sys.addaudithook(hook)
    for name in ("fsync", "write"):
        real = getattr(os, name)

        def stepping(*arguments, real=real):
            step()
            return real(*arguments)

        setattr(os, name, stepping)


def killed_at_every_step(act):
    """Yields before a child acts and is killed, one step later each time."""
    for number in range(500):
        yield number

        def child(number=number):
            kill_before(number)
            act(number)

        code = wait(fork(child))
        if code == 0:
            return
        assert code == -signal.SIGKILL
    raise AssertionError("the act never ended")


def check_whole(store):
    """Everything that is published can be read; all else is leftovers."""
    problems = list(store.verify())
    assert [p for p in problems if not p.is_leftover] == []
    for current in store.current():
        versions = store.versions(current.tenant, current.speaker)
        assert current in versions
        for version in versions:
            stored.value(store.read(version))
    return problems


def test_a_publish_killed_at_any_step_shows_the_old_or_the_new(store):
    store.publish(stored.data(-1), "t", "other")
    expected, steps = {-1.0}, 0

    def publish(number):
        store.publish(stored.data(number), "t", "F01")

    for steps in killed_at_every_step(publish):
        try:
            value = stored.value(store.read(store.resolve("t", "F01")))
        except submodel_store.UnknownSubmodelError:
            value = -1.0
        assert value in expected
        expected = {value, float(steps)}
        check_whole(store)
    version = store.resolve("t", "F01")
    assert stored.value(store.read(version)) == steps
    assert steps > 12
    assert check_whole(store) == []
    assert store.resolve("t", "other").number == 1


def test_a_first_publish_killed_at_any_step_is_whole_or_not_at_all(tmp_path):
    class Stores:
        made = None

    def publish(number):
        Stores.made.publish(stored.data(number), "t", "F01")

    for number in killed_at_every_step(publish):
        if number:
            try:
                version = Stores.made.resolve("t", "F01")
                assert Stores.made.read(version) == stored.data(number - 1)
            except (FileNotFoundError, submodel_store.UnknownSubmodelError):
                pass
            Stores.made.publish(stored.data(500), "t", "F01")
            assert all("/" not in p.path for p in check_whole(Stores.made))
        path = tmp_path / f"store{number}"
        Stores.made = submodel_store.SubmodelStore(path)


def test_an_erase_killed_at_any_step_leaves_all_or_nobody(store):
    store.publish(stored.data(7), "t", "other")
    outcomes = set()

    def erase(_):
        store.erase("t", "F01", "asked")

    for number in killed_at_every_step(erase):
        if number:
            try:
                version = store.resolve("t", "F01")
                assert stored.value(store.read(version)) == 1
                outcomes.add("still there")
            except submodel_store.UnknownSubmodelError:
                outcomes.add("unknown")
            check_whole(store)
        for value in range(2):
            store.publish(stored.data(value), "t", "F01", again=True)
        assert check_whole(store) == []
    assert outcomes == {"still there", "unknown"}
    assert stored.speakers(store, "t") == ["other"]
    assert check_whole(store) == []
    # Every erase that took anything away had said so before.
    lines = stored.audit_log(store)
    assert {line["state"] for line in lines} == {"begun", "done"}


def test_a_rollback_killed_at_any_step_moves_or_does_not(store):
    for value in range(2):
        store.publish(stored.data(value), "t", "F01")

    def rollback(_):
        store.rollback("t", "F01", 1)

    for _ in killed_at_every_step(rollback):
        assert store.resolve("t", "F01").number in (1, 2)
        check_whole(store)
        store.rollback("t", "F01", 2)
    assert store.resolve("t", "F01").number == 1


def test_many_writers_and_readers_lose_and_tear_nothing(store, tmp_path):
    store.publish(stored.data(0), "t", "F01")
    end = tmp_path / "end"

    def write(writer):
        for turn in range(5):
            value = 100 * writer + turn
            version = store.publish(stored.data(value), "t", "F01")
            assert stored.value(store.read(version)) == value

    def read():
        newest = 0
        while not end.exists():
            version = store.resolve("t", "F01")
            stored.value(store.read(version))
            assert version.number >= newest
            newest = version.number

    def verify():
        while not end.exists():
            assert list(store.verify(remove_leftovers=True)) == []

    writers = [fork(lambda w=w: write(w)) for w in range(1, 4)]
    others = [fork(read), fork(read), fork(verify)]
    assert [wait(pid) for pid in writers] == [0] * 3
    end.touch()
    assert [wait(pid) for pid in others] == [0] * 3
    versions = store.versions("t", "F01")
    assert [v.number for v in versions] == list(range(1, 17))
    assert len({v.sha256 for v in versions}) == 16
    assert store.resolve("t", "F01") == versions[-1]
    assert list(store.verify()) == []


def test_a_publish_beside_an_erase_is_whole_or_gone(store, tmp_path):
    store.publish(stored.data(0), "t", "other")
    end = tmp_path / "end"

    def publish(value):
        for turn in range(10):
            store.publish(
                stored.data(10 * value + turn), "t", "F01", again=True
            )

    def erase():
        is_last = False
        while not is_last:
            # Once more when all is published, so that one of them erases.
            is_last = end.exists()
            try:
                store.erase("t", "F01", "asked")
            except submodel_store.UnknownSubmodelError:
                time.sleep(0.002)

    def read():
        for _ in range(300):
            try:
                stored.value(store.read(store.resolve("t", "F01")))
            except submodel_store.UnknownSubmodelError:
                pass

    publishers = [fork(lambda v=v: publish(v)) for v in range(2)]
    others = [fork(erase), fork(erase), fork(read)]
    assert [wait(pid) for pid in publishers] == [0] * 2
    end.touch()
    assert [wait(pid) for pid in others] == [0] * 3
    assert check_whole(store) == []
    lines = stored.audit_log(store)
    states = collections.Counter(line["state"] for line in lines)
    assert states["begun"] == states["done"] >= 1
    erased = sum(x["num_versions"] for x in lines if x["state"] == "done")
    try:
        left = len(store.versions("t", "F01"))
    except submodel_store.UnknownSubmodelError:
        left = 0
    assert erased + left == 20


@pytest.mark.parametrize("num_bytes", [1, 1 << 17])
def test_a_line_torn_by_a_kill_is_cut_and_said(store, num_bytes):
    for speaker in ("F01", "F02"):
        store.publish(stored.data(0), "t", speaker)
    store.erase("t", "F01", "asked")

    def erase():
        # On a full disk a part is written; then comes the kill.
        real = os.write

        def write(descriptor, data):
            real(descriptor, b"{" * num_bytes)
            os.kill(os.getpid(), signal.SIGKILL)

        os.write = write
        store.erase("t", "F02", "asked")

    assert wait(fork(erase)) == -signal.SIGKILL
    assert [p.is_leftover for p in store.verify()] == [True]
    assert store.resolve("t", "F02").number == 1
    store.erase("t", "F02", "asked")
    lines = stored.audit_log(store)
    assert [(line["event"], line["state"]) for line in lines] == [
        ("erase", "begun"),
        ("erase", "done"),
        ("erase", "begun"),
        ("mend", "done"),
        ("erase", "done"),
    ]
    assert set(lines[3]["cut"]) == {"{"}
    assert list(store.verify()) == []


def test_an_erase_killed_at_any_step_on_a_full_disk_goes_on(store):
    """After every kill the erasure can be finished, and is logged."""

    def erase(_):
        real = os.write
        room = []

        def write(descriptor, data):
            if not room:
                real(descriptor, data[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data)

        os.write = write
        real_unlink = os.unlink

        def unlink(name, **kwargs):
            real_unlink(name, **kwargs)
            room.append(name)

        os.unlink = unlink
        store.erase("t", "F01", "asked")

    for number in killed_at_every_step(erase):
        if number:
            check_whole(store)
            with contextlib.suppress(submodel_store.UnknownSubmodelError):
                store.erase("t", "F01", "asked")
            assert check_whole(store) == []
            lines = stored.audit_log(store)
            assert [x for x in lines if x["event"] == "erase"]
        store.publish(stored.data(1), "t", "F01", again=True)
    assert check_whole(store) == []
    events = {(x["event"], x["state"]) for x in stored.audit_log(store)}
    assert events >= {("erase", "begun"), ("erase", "done"), ("mend", "done")}


def test_the_lock_of_a_killed_writer_is_free(store):
    version = store.publish(stored.data(0), "t", "F01")
    lock = version.folder.rpartition("/")[0] + "/.lock"
    tree = local_files.LocalFiles(store.root)
    read_end, write_end = os.pipe()

    def hold():
        with tree.lock(lock):
            os.write(write_end, b"x")
            time.sleep(60)

    pid = fork(hold)
    assert os.read(read_end, 1) == b"x"
    descriptor = os.open(os.path.join(store.root, lock), os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    for end in (descriptor, read_end, write_end):
        os.close(end)
    assert store.publish(stored.data(1), "t", "F01").number == 2


def test_a_writer_that_hangs_is_an_error_and_stops_no_reader(
    store, monkeypatch
):
    version = store.publish(stored.data(0), "t", "F01")
    lock = version.folder.rpartition("/")[0] + "/.lock"
    monkeypatch.setattr(local_files, "LOCK_SECONDS", 0.05)
    with local_files.LocalFiles(store.root).lock(lock):
        assert store.read(store.resolve("t", "F01")) == stored.data(0)
        with pytest.raises(TimeoutError, match="another writer holds"):
            store.publish(stored.data(1), "t", "F01")
    assert store.publish(stored.data(1), "t", "F01").number == 2


def test_without_permission_a_publish_is_an_error_and_readers_go_on():
    with tempfile.TemporaryDirectory() as folder:
        store = submodel_store.SubmodelStore(os.path.join(folder, "store"))
        version = store.publish(stored.data(0), "t", "F01")
        for path in [folder, *map(str, pathlib.Path(folder).rglob("*"))]:
            os.chmod(path, 0o555 if os.path.isdir(path) else 0o444)

        def child():
            # Root may write anywhere.
            if os.geteuid() == 0:
                os.seteuid(65534)
            assert store.read(store.resolve("t", "F01")) == stored.data(0)
            assert list(store.verify()) == []
            for act in (
                lambda: store.publish(stored.data(1), "t", "F01"),
                lambda: store.publish(stored.data(1), "other", "F01"),
                lambda: store.erase("t", "F01", "asked"),
                lambda: store.rollback("t", "F01", 1),
            ):
                with pytest.raises(PermissionError, match=store.root):
                    act()

        try:
            assert wait(fork(child)) == 0
            assert store.resolve("t", "F01") == version
        finally:
            for path in [folder, *map(str, pathlib.Path(folder).rglob("*"))]:
                os.chmod(path, 0o755)
