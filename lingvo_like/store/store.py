"""Versions of Submodels, by tenant and speaker, in a folder or a bucket.

`layout` shows what lies where. A publish writes the Submodel's file, the
version's record and then the pointer, each whole or not at all. So whoever
resolves sees the old version or the new one. What a killed writer leaves is
never seen, and goes with the next publish or erase. Resolving reads one file,
however many Submodels there are, and lists nothing.

In a local folder any number of processes and machines may publish, roll back,
erase and read at once, if the file system keeps `flock` and renames (ext4, xfs,
tmpfs and NFS 4 do). Writers of a speaker wait for each other, readers wait for
nobody, and a lock ends with its holder.

A bucket has no locks, and must be strongly consistent (Google Cloud Storage
is). Readers are as safe as above, and so are writers of different speakers. Two
that publish for the same speaker at once may give the same number twice; both
versions stay, and either may be the current one, whole. A publish that meets an
erase notices that and fails; if it is killed at that moment, it may leave a
pointer to a file that is gone, which readers reject. `verify` takes what a
writer is just writing for a leftover. So have one writer for each speaker, and
none beside an erase.
"""

import contextlib
import hashlib
import os
from collections import abc

from lingvo_like import files
from lingvo_like.store import (
    audit,
    changes,
    filesystem,
    ids,
    layout,
    quality_gate,
    records,
    refusals,
    verify,
)
from lingvo_like.submodel import file as submodel_file

# The words of the store's interface, under one name.
DamagedStoreError = records.DamagedStoreError
Gate = quality_gate.Gate
GateError = quality_gate.GateError
InvalidIdError = ids.InvalidIdError
Problem = verify.Problem
RefusedError = refusals.RefusedError
UnknownSubmodelError = records.UnknownSubmodelError
Version = records.Version
check_id = ids.check_id

MAX_REASON = 1000


class SubmodelStore:
    """A store of Submodels; several threads may share one.

    Nothing is opened or made before it is used; the first `publish` into a
    missing or empty folder makes a store of it.

    Every method raises an OSError if the store is missing or cannot be read or
    written, `InvalidIdError` for an id that `check_id` rejects,
    `UnknownSubmodelError` for a speaker with no Submodel, and
    `DamagedStoreError`, an OSError, if a file is not what was written.
    """

    def __init__(self, root: str | os.PathLike):
        self._tree = filesystem.open_root(root)
        self._is_open = False

    @property
    def root(self) -> str:
        return self._tree.root

    def check(self) -> None:
        """Raises an error unless there is a store of this format."""
        records.check_marker(self._tree)
        self._is_open = True

    def prepare(self) -> None:
        """Checks that one can publish here, before long work.

        A missing or empty folder becomes a store. A ValueError says that it
        has another format or other files.
        """
        self._open_or_make()
        files.try_writing(self.root)

    def check_publish(
        self, tenant: str, speaker: str, base_fingerprint: str
    ) -> None:
        """Checks that `publish` will take a speaker, before long work.

        Raises:
            RefusedError: as `publish` would.
        """
        self._open()
        pointer = self._pointer_or_none(tenant, speaker)
        current = pointer.version if pointer else None
        refusals.check_base(speaker, base_fingerprint, current)
        refusals.check_erased(self._tree, tenant, speaker, current)

    def publish(
        self,
        data: bytes,
        tenant: str,
        speaker: str,
        gate: Gate | None = None,
        *,
        source: str = "",
        change_base: bool = False,
        again: bool = False,
    ) -> Version:
        """Makes a Submodel the current version of a speaker.

        Publishing the bytes of the current version changes nothing, and
        returns that version.

        Args:
            data: bytes of a Submodel's file.
            speaker: the id that requests will name.
            gate: evidence that has to pass, if any.
            source: the path of that file, for whoever erases the speaker.
            change_base: whether it may be for another base model than the
                Submodel that serves.
            again: whether the speaker may have been erased.

        Raises:
            SubmodelError: the bytes are not a whole Submodel.
            GateError: the gate rejects it.
            RefusedError: the base model is another one, or the speaker was
                erased.
            OSError: it cannot be written; the current version stays.
        """
        folder = layout.speaker_folder(tenant, speaker)
        data = bytes(data)
        metadata = submodel_file.load(data).metadata
        if gate is not None:
            gate.check(metadata)
        version = Version(
            tenant,
            speaker,
            number=1,
            sha256=hashlib.sha256(data).hexdigest(),
            num_bytes=len(data),
            base_fingerprint=metadata.base_fingerprint,
            published_at=records.now(),
            source=source,
            gate=gate,
        )
        records.to_json(version)  # Nothing is made if it is too long.
        self._open_or_make()
        self._tree.make_folder(folder.rpartition("/")[0])
        with self._lock(folder):
            pointer = self._pointer_or_none(tenant, speaker)
            current = pointer.version if pointer else None
            if not change_base:
                refusals.check_base(speaker, version.base_fingerprint, current)
            if not again:
                refusals.check_erased(self._tree, tenant, speaker, current)
            try:
                return changes.publish(self._tree, version, data, pointer)
            except BaseException:
                # The first error says more, and the next publish sweeps too.
                with contextlib.suppress(OSError):
                    changes.sweep(self._tree, folder)
                raise

    def resolve(self, tenant: str, speaker: str) -> Version:
        """The current version of a speaker: one small read."""
        return self._pointer(tenant, speaker).version

    def read(self, version: Version) -> bytes:
        """The bytes of a version's file, checked against its SHA-256.

        Raises:
            UnknownSubmodelError: it was erased meanwhile.
            DamagedStoreError: the bytes are not those that were published.
        """
        self._open()
        path = version.blob_path
        try:
            data = self._tree.read(path, submodel_file.MAX_FILE_BYTES)
        except FileNotFoundError:
            self.check()
            raise UnknownSubmodelError(
                f"version {version.name} of {version.speaker!r} is not in the "
                "store any more"
            ) from None
        if hashlib.sha256(data).hexdigest() != version.sha256:
            raise DamagedStoreError(
                f"{self._tree.full(path)}: altered: the SHA-256 must be "
                f"{version.sha256}. Restore the file, or publish it again."
            )
        return data

    def versions(self, tenant: str, speaker: str) -> list[Version]:
        """All published versions of a speaker, the oldest first."""
        pointer = self._pointer(tenant, speaker)
        folder = pointer.version.folder
        found = []
        for name in self._tree.list(folder):
            record = layout.parse_record(name)
            if record and record[0] <= pointer.latest.number:
                # It may be erased just now.
                with contextlib.suppress(FileNotFoundError):
                    path = f"{folder}/{name}"
                    found.append(records.read_version(self._tree, path))
        return sorted(found, key=lambda v: (v.number, v.published_at))

    def current(
        self,
        tenant: str | None = None,
        on_error: abc.Callable[[OSError], object] | None = None,
    ) -> abc.Iterator[Version]:
        """Yields the current version of every speaker, in no order.

        Args:
            on_error: called with the error of a speaker who cannot be read;
                if it is None, the error is raised.
        """
        if tenant is not None:
            check_id("tenant", tenant)
        self._open()
        for folder in verify.speaker_folders(self._tree, tenant):
            try:
                yield records.read_pointer(self._tree, folder).version
            except FileNotFoundError:
                continue
            except OSError as error:
                if on_error is None:
                    raise
                on_error(error)

    def rollback(
        self, tenant: str, speaker: str, number: int | None = None, by: str = ""
    ) -> Version:
        """Makes another version the current one, and returns it.

        Args:
            number: of the version; None for the one that served when the
                current one was published.
            by: who does it, for the audit log.

        Raises:
            UnknownSubmodelError: there is no such version.
            DamagedStoreError: its record or file is missing or altered;
                nothing changed.
        """
        # Resolved first: a speaker with no Submodel has no lock.
        folder = self.resolve(tenant, speaker).folder
        with self._lock(folder):
            pointer = self._pointer(tenant, speaker)
            current = pointer.version
            version = changes.rollback_target(self._tree, pointer, number)
            try:
                metadata = submodel_file.load(self.read(version)).metadata
                version.check(metadata)
            except (UnknownSubmodelError, ValueError) as error:
                raise DamagedStoreError(
                    f"version {version.name} of {speaker!r}: {error}"
                ) from None
            fields = {"tenant": tenant, "speaker": speaker, "by": by}
            fields |= {"from": current.name, "to": version.name}
            with audit.logged(self._tree, "rollback", fields):
                changes.point_to(self._tree, version, pointer.latest)
        return version

    def erase(
        self,
        tenant: str,
        speaker: str,
        reason: str,
        by: str = "",
        missing_ok: bool = False,
    ) -> int:
        """Removes every version of a speaker, and returns how many there were.

        The speaker is unknown from the first moment on. To finish an erase
        that was cut off, call it again.

        Args:
            reason: why, for the audit log; 1 to `MAX_REASON` characters.
            by: who does it, for the audit log.
            missing_ok: whether to log the erasure of a speaker who has no
                Submodel here, too.
        """
        folder = layout.speaker_folder(tenant, speaker)
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ValueError(
                f"the reason of an erasure must have 1 to {MAX_REASON} "
                f"characters. Received: {reason[:80]!r}."
            )
        self._open()
        # Looked at first: a speaker with no Submodel has no lock.
        if self._tree.kind(folder) is None:
            if not missing_ok:
                raise _unknown(tenant, speaker)
            self._tree.make_folder(folder.rpartition("/")[0])
        with self._lock(folder):
            is_there = self._tree.kind(folder) is not None
            if not is_there and not missing_ok:
                raise _unknown(tenant, speaker)
            count = len(changes.numbers(self._tree, folder))
            fields = {"tenant": tenant, "speaker": speaker, "by": by}
            fields |= {"reason": reason, "num_versions": count}
            with audit.logged(self._tree, audit.ERASE, fields, is_urgent=True):
                if is_there:
                    changes.remove(self._tree, folder)
        return count

    def verify(self, remove_leftovers: bool = False) -> abc.Iterator[Problem]:
        """Walks the whole store; yields what is not as it should be.

        On request it removes what killed writers left.
        """
        self._open()
        return verify.walk(self._tree, remove_leftovers)

    def _open(self):
        if not self._is_open:
            self.check()

    def _open_or_make(self):
        try:
            self.check()
        except FileNotFoundError:
            records.write_marker(self._tree)
            self.check()
        audit.keep_room(self._tree)

    def _lock(self, folder):
        return self._tree.lock(layout.lock_path(folder))

    def _pointer(self, tenant, speaker):
        self._open()
        folder = layout.speaker_folder(tenant, speaker)
        try:
            return records.read_pointer(self._tree, folder)
        except FileNotFoundError:
            # If the store is not mounted, that says nothing of the speaker.
            self.check()
            raise _unknown(tenant, speaker) from None

    def _pointer_or_none(self, tenant, speaker):
        with contextlib.suppress(UnknownSubmodelError):
            return self._pointer(tenant, speaker)
        return None


def _unknown(tenant, speaker):
    return UnknownSubmodelError(
        f"no Submodel of {speaker!r} is published for the tenant {tenant!r}"
    )
