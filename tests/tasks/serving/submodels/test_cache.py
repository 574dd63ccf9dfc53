"""Rows and files within their bytes, and rows that are held stay whole."""

import dataclasses

import numpy as np
import pytest

from tasks.serving.submodels import cache


@dataclasses.dataclass(frozen=True)
class Version:
    speaker: str
    sha256: str = "a"
    tenant: str = "acme"


def row(value):
    return np.full(6, value, np.float32)


@pytest.fixture
def rows():
    """Room for two."""
    return cache.RowCache(6, 2 * 24 + 23)


def fill(rows, *speakers):
    for number, speaker in enumerate(speakers):
        rows.insert(Version(speaker), row(number))


def speakers(rows):
    return [version.speaker for version in rows.versions()]


def test_a_row_comes_back_as_it_went_in(rows):
    fill(rows, "ann", "bob")
    handle = rows.acquire(Version("bob"))
    np.testing.assert_array_equal(handle.vector, row(1))
    assert handle.version == Version("bob")
    assert rows.acquire(Version("eve")) is None
    assert rows.acquire(Version("ann", "other")) is None


def test_a_held_row_cannot_be_written_to(rows):
    fill(rows, "ann")
    with pytest.raises(ValueError):
        rows.acquire(Version("ann")).vector[0] = 1


def test_the_longest_unused_row_makes_room():
    evictions = []
    rows = cache.RowCache(6, 48, on_evict=lambda: evictions.append(1))
    fill(rows, "ann", "bob")
    rows.acquire(Version("ann")).release()
    fill(rows, "eve")
    assert speakers(rows) == ["ann", "eve"]
    assert len(evictions) == 1
    assert rows.num_bytes == 48


def test_held_rows_stay_and_stay_whole(rows):
    fill(rows, "ann", "bob")
    first = rows.acquire(Version("ann"))
    second = first.copy()
    first.release()
    first.release()
    for _ in range(5):
        rows.insert(Version("eve"), row(9))
        rows.forget(("acme", "eve"))
    np.testing.assert_array_equal(second.vector, row(0))
    other = rows.acquire(Version("ann"))
    rows.insert(Version("eve"), row(9))
    third = rows.acquire(Version("eve"))
    with pytest.raises(cache.NoRoomError):
        fill(rows, "max")
    third.release()
    fill(rows, "max")
    second.release()
    other.release()
    assert rows.holders(Version("ann")) == 0


def test_pinned_rows_are_not_evicted():
    rows = cache.RowCache(6, 48, lambda owner: owner == ("acme", "ann"))
    fill(rows, "ann", "bob", "eve")
    assert speakers(rows) == ["ann", "eve"]


def test_a_dropped_row_is_gone_at_once_and_its_memory_when_nobody_holds_it(
    rows,
):
    fill(rows, "ann", "bob")
    handle = rows.acquire(Version("ann"))
    values = handle.vector
    rows.forget(("acme", "ann"))
    assert rows.acquire(Version("ann")) is None
    np.testing.assert_array_equal(values, row(0))
    assert rows.num_bytes == 48
    rows.forget(("acme", "bob"))
    assert rows.num_bytes == 24
    handle.release()
    assert rows.num_bytes == 0
    assert not rows.versions()


def test_what_is_dropped_is_wiped(rows):
    rows.insert(Version("ann"), row(7))
    handle = rows.acquire(Version("ann"))
    values = handle.vector
    rows.forget(("acme", "ann"))
    handle.release()
    np.testing.assert_array_equal(values, row(0))


def test_dropping_keeps_the_current_version_and_other_tenants(rows):
    mine, other = Version("ann", "new"), Version("ann", "new", "other")
    rows.insert(mine, row(0))
    rows.insert(other, row(1))
    rows.forget(("acme", "ann"), keep="new")
    assert rows.versions() == [mine, other]
    rows.forget(("acme", "ann"), keep="newer")
    assert rows.versions() == [other]


def test_a_new_version_takes_the_place_of_its_owners_old_one(rows):
    old, new = Version("ann", "old"), Version("ann", "new")
    rows.insert(old, row(0))
    handle = rows.acquire(old)
    rows.insert(new, row(1))
    assert rows.acquire(old) is None
    assert (rows.holders(old), rows.holders(new)) == (0, 0)
    # Whoever has the old one keeps it whole.
    np.testing.assert_array_equal(handle.vector, row(0))
    np.testing.assert_array_equal(rows.acquire(new).vector, row(1))
    handle.release()
    assert rows.num_bytes == 24


def test_a_cache_without_room_for_a_row_is_refused():
    with pytest.raises(ValueError, match="24 bytes. Received: 23"):
        cache.RowCache(6, 23)


def test_files_stay_within_their_bytes():
    evictions = []
    files = cache.FileCache(10, lambda: evictions.append(1))
    files.put(Version("ann"), b"1234")
    files.put(Version("bob"), b"1234")
    assert files.get(Version("ann")) == b"1234"
    files.put(Version("eve"), b"123")
    assert files.get(Version("bob")) is None
    assert files.num_bytes == 7
    files.put(Version("max"), b"12345678901")
    assert files.get(Version("max")) is None
    files.put(Version("ann"), b"12")
    assert files.num_bytes == 5
    assert len(evictions) == 1


def test_a_speakers_files_are_dropped():
    files = cache.FileCache(100)
    files.put(Version("ann", "old"), b"1234")
    files.put(Version("ann", "new"), b"12")
    files.put(Version("bob"), b"1")
    assert files.get(Version("ann", "old")) is None
    files.forget(("acme", "ann"), keep="new")
    assert files.num_bytes == 3
    files.forget(("acme", "ann"))
    assert files.owners() == {("acme", "bob")}
