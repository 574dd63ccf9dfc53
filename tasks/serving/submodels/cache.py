"""Submodels in memory: ready rows and files, both within a number of bytes.

Each holds at most one version of an owner, a (tenant, speaker). Two speakers
with the same file have an entry each, so that erasing one leaves the other.
Everything here runs on the loop's thread, except that rows that are held may
be read from any thread.
"""

import collections
import dataclasses
from collections import abc

import numpy as np

from lingvo_like.store import records
from tasks.serving.submodels import source

Owner = tuple[str, str]


class NoRoomError(Exception):
    """Every row is in use or pinned."""


class RowCache:
    """Packed Submodels in one preallocated array, the most recently used.

    An evicted row is overwritten by the next Submodel. What keeps a row whole
    while a request uses it is the count of its holders: a plain LRU cache
    would hand the row to the next user.

    Args:
        max_bytes: of all rows together.
        is_pinned: whether an owner's row must not be evicted.

    Raises:
        ValueError: not even one row fits.
    """

    def __init__(
        self,
        num_values: int,
        max_bytes: int,
        is_pinned: abc.Callable[[Owner], bool] = lambda owner: False,
        on_evict: abc.Callable[[], None] = lambda: None,
    ) -> None:
        self.row_bytes = np.dtype(np.float32).itemsize * num_values
        num_rows = max_bytes // self.row_bytes
        if num_rows < 1:
            raise ValueError(
                f"`row_cache_bytes` must hold a Submodel of {self.row_bytes} "
                f"bytes. Received: {max_bytes}."
            )
        # The system gives memory to rows as they are first used.
        self._arena = np.empty((num_rows, num_values), np.float32)
        self._unused = list(range(num_rows))[::-1]
        # The least recently used first.
        self._entries: collections.OrderedDict[Owner, _Entry] = (
            collections.OrderedDict()
        )
        self._is_pinned = is_pinned
        self._on_evict = on_evict

    @property
    def num_rows(self) -> int:
        return len(self._arena)

    @property
    def num_bytes(self) -> int:
        """Bytes of rows that hold something, dropped ones included."""
        return (self.num_rows - len(self._unused)) * self.row_bytes

    def acquire(self, version: records.Version) -> "RowHandle | None":
        """A hold of the version's row; None if it is not here."""
        entry = self._entries.get(source.owner_of(version))
        if entry is None or entry.version.sha256 != version.sha256:
            return None
        self._entries.move_to_end(source.owner_of(version))
        return RowHandle(self, entry, version)

    def insert(
        self, version: records.Version, vector: np.ndarray, language: str = ""
    ) -> None:
        """Copies a Submodel in, in place of its owner's other version.

        Args:
            vector: `[num_values]` float32.
            language: of the Submodel; "" for none.

        Raises:
            NoRoomError: no row is free or may be evicted.
        """
        owner = source.owner_of(version)
        self.forget(owner)
        row = self._unused.pop() if self._unused else self._evict()
        self._arena[row] = vector
        self._entries[owner] = _Entry(row, version, language)

    def forget(self, owner: Owner, keep: str | None = None) -> None:
        """Drops an owner's row; if it is in use, once it no longer is.

        Args:
            keep: SHA-256 of the version that stays.
        """
        entry = self._entries.get(owner)
        if entry is None or entry.version.sha256 == keep:
            return
        del self._entries[owner]
        entry.is_dropped = True
        if self._is_free(entry):
            self._wipe(entry)

    def versions(self) -> list[records.Version]:
        """The versions that are here, the least recently used first."""
        return [entry.version for entry in self._entries.values()]

    def holders(self, version: records.Version) -> int:
        """The number of handles on a version's row; 0 if it is not here."""
        entry = self._entries.get(source.owner_of(version))
        if entry is None or entry.version.sha256 != version.sha256:
            return 0
        return entry.holders

    def view(self, entry: "_Entry") -> np.ndarray:
        row = self._arena[entry.row]
        row.flags.writeable = False
        return row

    def released(self, entry: "_Entry") -> None:
        entry.holders -= 1
        if entry.is_dropped and entry.holders == 0:
            self._wipe(entry)

    @staticmethod
    def _is_free(entry: "_Entry") -> bool:
        return entry.holders == 0

    def _evict(self) -> int:
        for owner, entry in self._entries.items():
            if self._is_free(entry) and not self._is_pinned(owner):
                del self._entries[owner]
                self._on_evict()
                return entry.row
        raise NoRoomError

    def _wipe(self, entry: "_Entry") -> None:
        # What was erased must not stay in memory.
        self._arena[entry.row] = 0.0
        self._unused.append(entry.row)


@dataclasses.dataclass(eq=False)
class _Entry:
    row: int
    version: records.Version
    language: str = ""
    holders: int = 0
    is_dropped: bool = False


class RowHandle:
    """Holds one row until `release`: nothing overwrites it.

    Attributes:
        vector: `[num_values]` float32, read-only, valid until `release`.
        language: of the Submodel; "" for none.
    """

    def __init__(
        self, rows: RowCache, entry: _Entry, version: records.Version
    ) -> None:
        self.version = version
        self.vector = rows.view(entry)
        self.language = entry.language
        self._rows = rows
        self._entry = entry
        self._is_released = False
        entry.holders += 1

    def copy(self) -> "RowHandle":
        """Another hold of the same row."""
        return RowHandle(self._rows, self._entry, self.version)

    def release(self) -> None:
        """Lets go of the row; a second call does nothing."""
        if not self._is_released:
            self._is_released = True
            self._rows.released(self._entry)


class FileCache:
    """The most recently used Submodel files, within `max_bytes` together."""

    def __init__(
        self,
        max_bytes: int,
        on_evict: abc.Callable[[], None] = lambda: None,
    ) -> None:
        self._max_bytes = max_bytes
        self._on_evict = on_evict
        self.num_bytes = 0
        # By owner: SHA-256 and bytes, the least recently used first.
        self._files: collections.OrderedDict[Owner, tuple[str, bytes]] = (
            collections.OrderedDict()
        )

    def get(self, version: records.Version) -> bytes | None:
        owner = source.owner_of(version)
        sha256, data = self._files.get(owner, (None, None))
        if sha256 != version.sha256:
            return None
        self._files.move_to_end(owner)
        return data

    def put(self, version: records.Version, data: bytes) -> None:
        """Keeps a file, in place of its owner's other one; not if too large."""
        owner = source.owner_of(version)
        self.forget(owner)
        if len(data) > self._max_bytes:
            return
        self._files[owner] = version.sha256, data
        self.num_bytes += len(data)
        while self.num_bytes > self._max_bytes:
            self.forget(next(iter(self._files)))
            self._on_evict()

    def forget(self, owner: Owner, keep: str | None = None) -> None:
        """Drops an owner's file unless its SHA-256 is `keep`."""
        sha256, data = self._files.get(owner, (keep, b""))
        if sha256 != keep:
            del self._files[owner]
            self.num_bytes -= len(data)

    def owners(self) -> set[Owner]:
        return set(self._files)
