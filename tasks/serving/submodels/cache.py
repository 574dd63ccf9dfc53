"""Submodels in memory: ready rows in an arena, and files, both bounded.

Everything here runs on the loop's thread, except that rows which are held may
be read from any thread.
"""

import collections
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Key:
    """What a Submodel is filed under: its content, per owner.

    Two speakers with the same file have two rows, so that erasing one of them
    never touches the other.
    """

    tenant: str
    speaker: str
    sha256: str


def key_of(version):
    """The `Key` of a `submodel_store.Version`."""
    return Key(version.tenant, version.speaker, version.sha256)


class NoRoomError(Exception):
    """Every row is in use or pinned."""


class RowCache:
    """Packed Submodels in one preallocated array, the last used ones.

    A row that is evicted is written over by the next Submodel, so what keeps
    a row whole while a request uses it is the count of its holders.

    Args:
        num_values: int, of a packed Submodel.
        num_bytes: int, what the rows take together; at least one fits.
        is_pinned: function of a `Key`: never evict it.
        on_evict: function of no arguments, called at each eviction.

    Raises:
        ValueError: not even one row fits.
    """

    def __init__(
        self,
        num_values,
        num_bytes,
        is_pinned=lambda key: False,
        on_evict=lambda: None,
    ):
        self.row_bytes = 4 * num_values
        num_rows = num_bytes // self.row_bytes
        if num_rows < 1:
            raise ValueError(
                f"`row_cache_bytes` must hold a Submodel of {self.row_bytes} "
                f"bytes. Received: {num_bytes}."
            )
        # Not touched yet: the system gives memory to rows as they are used.
        self._arena = np.empty((num_rows, num_values), np.float32)
        self._unused = list(range(num_rows))[::-1]
        self._entries = collections.OrderedDict()
        self._keys = collections.defaultdict(set)
        self._is_pinned = is_pinned
        self._on_evict = on_evict

    @property
    def num_rows(self):
        return len(self._arena)

    @property
    def num_bytes(self):
        """Bytes of the rows that hold something, dropped ones included."""
        return (self.num_rows - len(self._unused)) * self.row_bytes

    def acquire(self, version):
        """A `Handle` of the version's row; None if it is not here."""
        entry = self._entries.get(key_of(version))
        if entry is None:
            return None
        self._entries.move_to_end(entry.key)
        return Handle(self, entry, version)

    def insert(self, version, vector):
        """Copies a Submodel in; an unused one goes out if need be.

        Args:
            version: `submodel_store.Version`, not here yet.
            vector: `[num_values]` float32.

        Raises:
            NoRoomError: nothing can go out.
        """
        row = self._unused.pop() if self._unused else self._evict()
        self._arena[row] = vector
        key = key_of(version)
        self._entries[key] = _Entry(key, row, version)
        self._keys[key.tenant, key.speaker].add(key)

    def forget(self, tenant, speaker, keep=None):
        """Drops a speaker's rows, those in use once they are not.

        Args:
            keep: SHA-256 of the one version that stays.
        """
        for key in list(self._keys.get((tenant, speaker), ())):
            if key.sha256 != keep:
                entry = self._remove(key)
                entry.is_dropped = True
                if self._is_free(entry):
                    self._clear(entry)

    def owners(self):
        """Set of (tenant, speaker)."""
        return set(self._keys)

    def keys(self):
        """The `Key`s that are here, the longest unused first."""
        return list(self._entries)

    def version(self, key):
        """The `Version` that a row was made of."""
        return self._entries[key].version

    def holders(self, key):
        """How many handles hold a row; none of one that is not here."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.holders

    def view(self, entry):
        row = self._arena[entry.row]
        row.flags.writeable = False
        return row

    def released(self, entry):
        entry.holders -= 1
        if entry.is_dropped and entry.holders == 0:
            self._clear(entry)

    @staticmethod
    def _is_free(entry):
        return entry.holders == 0

    def _evict(self):
        for key, entry in self._entries.items():
            if self._is_free(entry) and not self._is_pinned(key):
                self._remove(key)
                self._on_evict()
                return entry.row
        raise NoRoomError

    def _remove(self, key):
        entry = self._entries.pop(key)
        keys = self._keys[key.tenant, key.speaker]
        keys.remove(key)
        if not keys:
            del self._keys[key.tenant, key.speaker]
        return entry

    def _clear(self, entry):
        # What was erased must not stay in memory.
        self._arena[entry.row] = 0.0
        self._unused.append(entry.row)


class Handle:
    """Holds one row until `release`: nobody writes over it.

    Attributes:
        version: `submodel_store.Version`.
        row: `[num_values]` float32, read-only, not to be used afterwards.
        key: `Key`, the same for the same row.
    """

    def __init__(self, rows, entry, version):
        self.version = version
        self.row = rows.view(entry)
        self.key = entry.key
        self._rows = rows
        self._entry = entry
        entry.holders += 1

    def again(self):
        """Another handle of the same row."""
        return Handle(self._rows, self._entry, self.version)

    def release(self):
        """Lets go; a second call does nothing."""
        if self._entry is not None:
            entry, self._entry, self.row = self._entry, None, None
            self._rows.released(entry)


@dataclasses.dataclass(eq=False)
class _Entry:
    key: Key
    row: int
    version: object
    holders: int = 0
    is_dropped: bool = False


class FileCache:
    """Bytes of Submodel files, the last used ones.

    Args:
        max_bytes: int, of all files together; 0 keeps none.
        on_evict: function of no arguments, called at each eviction.
    """

    def __init__(self, max_bytes, on_evict=lambda: None):
        self._max_bytes = max_bytes
        self._on_evict = on_evict
        self._files = collections.OrderedDict()
        self._keys = collections.defaultdict(set)
        self.num_bytes = 0

    def get(self, version):
        """The file's bytes, or None."""
        key = key_of(version)
        if key in self._files:
            self._files.move_to_end(key)
        return self._files.get(key)

    def put(self, version, data):
        if len(data) > self._max_bytes:
            return
        key = key_of(version)
        if key in self._files:
            self._remove(key)
        self._files[key] = data
        self._keys[key.tenant, key.speaker].add(key)
        self.num_bytes += len(data)
        while self.num_bytes > self._max_bytes:
            self._remove(next(iter(self._files)))
            self._on_evict()

    def forget(self, tenant, speaker, keep=None):
        """Drops a speaker's files, but that with the SHA-256 `keep`."""
        for key in list(self._keys.get((tenant, speaker), ())):
            if key.sha256 != keep:
                self._remove(key)

    def owners(self):
        """Set of (tenant, speaker)."""
        return set(self._keys)

    def _remove(self, key):
        self.num_bytes -= len(self._files.pop(key))
        keys = self._keys[key.tenant, key.speaker]
        keys.remove(key)
        if not keys:
            del self._keys[key.tenant, key.speaker]
