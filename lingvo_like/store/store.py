"""Versions of Submodels, by tenant and speaker, in a folder or a bucket.

`submodel_store_layout` shows what lies where. A publish writes the file, the
version's record and then the pointer, each complete or not at all: whoever
resolves sees the old version or the new one, and what a killed writer leaves is
never seen and goes with the next publish or erase. Resolving reads one file,
however many Submodels there are, and lists nothing.

In a local folder any number of processes and machines may publish, roll back,
erase and read at once, as far as the file system keeps `flock` and renames
(ext4, xfs, tmpfs, NFS 4 do): writers of a speaker wait for each other, readers
for nobody, and a lock ends with its holder.

In a bucket there are no locks. It must be strongly consistent (Google Cloud
Storage is). Readers are as safe as above. Writers of different speakers too.
Two that publish for the same speaker at once may give a number twice; both
versions stay and either one is current, whole. A publish that meets an erase
finds that out and fails; killed in that moment it may leave a pointer to a file
that is gone, which is refused when it is read. `verify` takes what a writer is
just writing for a leftover. Have one writer a speaker, or none beside an erase.
"""

import contextlib
import dataclasses
import hashlib

from lingvo_like import files
from lingvo_like.store import gate as submodel_store_gate
from lingvo_like.store import layout
from lingvo_like.store import records as submodel_store_records
from lingvo_like.store import verify as submodel_store_verify
from lingvo_like.submodel import file as submodel_file

# The whole vocabulary of the store under one name.
DamagedStoreError = layout.DamagedStoreError
Gate = submodel_store_gate.Gate
GateError = submodel_store_gate.GateError
InvalidIdError = layout.InvalidIdError
Problem = submodel_store_verify.Problem
UnknownSubmodelError = layout.UnknownSubmodelError
Version = layout.Version
check_id = layout.check_id

MAX_REASON = 1000
# How often an erase looks again for what a publish in a bucket adds.
_ERASE_ROUNDS = 20


class SubmodelStore:
    """A store of Submodels; safe to use from several threads.

    Nothing is opened or made until it is used; the first `publish` into a
    missing or empty folder makes a store of it.

    Every method raises an OSError where the store is missing or cannot be
    read or written, `InvalidIdError` for an id that `check_id` refuses, and
    `DamagedStoreError`, an OSError, where a file is not what was written.

    Args:
        root: path of a folder, or anything that `tf.io.gfile` opens.
    """

    def __init__(self, root):
        self._records = submodel_store_records.Records(root)
        self._tree = self._records.tree

    @property
    def root(self):
        return self._tree.root

    def check(self):
        """Returns where there is a store, and it can be read.

        Raises:
            OSError: there is none, or it cannot be read.
            ValueError: it is of another format.
        """
        self._records.open(again=True)

    def prepare(self):
        """Shows that one can publish here, before long work.

        A missing or empty folder becomes a store.

        Raises:
            OSError: it cannot be read or written.
            ValueError: it is of another format, or no store and not empty.
        """
        self._records.open(create=True)
        files.try_writing(self.root)

    def publish(self, data, tenant, speaker, gate=None):
        """Makes a Submodel the current version of a speaker.

        The bytes of the current version change nothing: it is returned.

        Args:
            data: bytes of a Submodel's file.
            tenant: str.
            speaker: str, the id that requests will name.
            gate: `Gate`; evidence that it has to pass. None publishes
                without.

        Returns:
            `Version`.

        Raises:
            SubmodelError: the bytes are not a whole Submodel.
            GateError: the gate refuses it.
            OSError: it cannot be written; what was current stays so.
        """
        folder = layout.speaker_folder(tenant, speaker)
        data = bytes(data)
        metadata = submodel_file.load(data).metadata
        if gate is not None:
            gate.check(metadata)
        version = Version(
            tenant=tenant,
            speaker=speaker,
            number=1,
            sha256=hashlib.sha256(data).hexdigest(),
            num_bytes=len(data),
            base_fingerprint=metadata.base_fingerprint,
            published_at=submodel_store_records.now(),
            gate=gate,
        )
        self._records.open(create=True)
        self._tree.make_folder(folder.rpartition("/")[0])
        with self._records.lock(folder):
            try:
                return self._publish(version, data)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._sweep(folder)
                raise

    def resolve(self, tenant, speaker):
        """The current `Version` of a speaker: one small read.

        Raises:
            UnknownSubmodelError: nothing is published, or it was erased.
        """
        return self._records.pointer(tenant, speaker).version

    def read(self, version):
        """The bytes of a version's file, checked against its SHA-256.

        Raises:
            UnknownSubmodelError: it was erased meanwhile.
            DamagedStoreError: the bytes are other ones than were published.
        """
        self._records.open()
        path = version.blob_path
        try:
            data = self._tree.read(path, submodel_file.MAX_FILE_BYTES)
        except FileNotFoundError:
            self._records.open(again=True)
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

    def versions(self, tenant, speaker):
        """All published `Version`s of a speaker, the oldest first.

        Raises:
            UnknownSubmodelError: nothing is published, or it was erased.
        """
        pointer = self._records.pointer(tenant, speaker)
        folder = pointer.version.folder
        found = []
        for name in self._tree.list(folder):
            number = layout.record_number(name)
            if number and number <= pointer.latest:
                # One that is erased just now is none.
                with contextlib.suppress(FileNotFoundError):
                    found.append(
                        self._records.read(Version, f"{folder}/{name}")
                    )
        return sorted(found, key=lambda v: (v.number, v.published_at))

    def speakers(self, tenant):
        """Iterator of a tenant's speaker ids, in no order."""
        check_id("tenant", tenant)
        return (version.speaker for version in self.current(tenant))

    def current(self, tenant=None, on_error=None):
        """Iterator of the current `Version`s, in no order.

        Args:
            tenant: str, or None for those of all tenants.
            on_error: function called with the OSError of a speaker who cannot
                be read; without it the error is raised.
        """
        folders = None
        if tenant is not None:
            folders = [layout.tenant_folder(tenant)]
        self._records.open()
        for folder in submodel_store_verify.speakers(self._tree, folders):
            try:
                pointer = self._records.read(
                    layout.Pointer, f"{folder}/{layout.POINTER}"
                )
            except FileNotFoundError:
                continue
            except OSError as error:
                if on_error is None:
                    raise
                on_error(error)
            else:
                yield pointer.version

    def rollback(self, tenant, speaker, number=None, by=""):
        """Makes another version the current one; the audit log says so.

        Args:
            tenant: str.
            speaker: str.
            number: int; None for the version before the current one.
            by: str, who does it, for the audit log.

        Returns:
            `Version`, the new current one.

        Raises:
            UnknownSubmodelError: there is no such version.
            DamagedStoreError: its file is missing or altered; nothing moved.
        """
        # Without anybody there is no folder to lock.
        folder = self.resolve(tenant, speaker).folder
        with self._records.lock(folder):
            pointer = self._records.pointer(tenant, speaker)
            version = _chosen(
                self.versions(tenant, speaker), pointer.version, number
            )
            try:
                self.read(version)
            except UnknownSubmodelError as error:
                raise DamagedStoreError(str(error)) from None
            moved = {"from": pointer.version.name, "to": version.name}
            with self._records.audited(
                "rollback", tenant, speaker, by, **moved
            ):
                self._records.write_pointer(version, pointer.latest)
        return version

    def erase(self, tenant, speaker, reason, by=""):
        """Removes every version of a speaker; the audit log keeps that.

        From the first moment on the speaker is unknown; an erase that was cut
        off is finished by calling it again.

        Args:
            tenant: str.
            speaker: str.
            reason: str, at most `MAX_REASON` characters.
            by: str, who does it, for the audit log.

        Returns:
            int, how many versions were there.

        Raises:
            UnknownSubmodelError: there is nothing of the speaker.
            ValueError: the reason is empty or too long.
        """
        folder = layout.speaker_folder(tenant, speaker)
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ValueError(
                f"the reason of an erasure must have 1 to {MAX_REASON} "
                f"characters. Received: {reason[:80]!r}."
            )
        self._records.open()
        if self._tree.kind(folder) is None:
            raise submodel_store_records.unknown(tenant, speaker)
        with self._records.lock(folder):
            if self._tree.kind(folder) is None:
                raise submodel_store_records.unknown(tenant, speaker)
            numbers = map(layout.record_number, self._tree.list(folder))
            count = len(list(filter(None, numbers)))
            with self._records.audited(
                "erase",
                tenant,
                speaker,
                by,
                reason=reason,
                num_versions=count,
            ):
                self._erase(folder)
        return count

    def verify(self, remove_leftovers=False):
        """Walks the whole store, and names what is not as it should be.

        Args:
            remove_leftovers: bool, whether to remove what killed writers left.

        Returns:
            iterator of `Problem`s.
        """
        self._records.open()
        return submodel_store_verify.walk(self._records, remove_leftovers)

    def _publish(self, version, data):
        """Under the lock: the next `Version`, or the same one again."""
        folder = version.folder
        latest, current = 0, None
        with contextlib.suppress(UnknownSubmodelError):
            pointer = self._records.pointer(version.tenant, version.speaker)
            latest, current = pointer.latest, pointer.version
        self._sweep(folder)
        self._tree.make_folder(folder)
        try:
            stored = self._tree.read(version.blob_path, len(data))
        except OSError:
            stored = None
        # Also where it is there but altered: this is how it is mended.
        if stored != data:
            self._tree.write(version.blob_path, data)
        if current is not None and current.sha256 == version.sha256:
            if self._tree.kind(current.record_path) is None:
                self._records.write_version(current)
            return current
        # In a bucket leftovers stay, and their numbers with them.
        numbers = map(layout.record_number, self._tree.list(folder))
        number = 1 + max([latest, *filter(None, numbers)])
        version = dataclasses.replace(version, number=number)
        self._records.write_version(version)
        self._records.write_pointer(version, number)
        if not self._tree.locks:
            self._check_not_erased(version)
        return version

    def _check_not_erased(self, version):
        for path in (version.blob_path, version.record_path):
            if self._tree.kind(path) is None:
                self._erase(version.folder)
                raise UnknownSubmodelError(
                    f"{version.speaker!r} was erased while version "
                    f"{version.name} was published, which is erased too"
                )

    def _sweep(self, folder):
        """Removes what killed writers left; the caller holds the lock."""
        if self._tree.locks:
            submodel_store_verify.sweep(self._records, folder)

    def _erase(self, folder):
        for _ in range(_ERASE_ROUNDS):
            self._tree.remove(f"{folder}/{layout.POINTER}")
            self._tree.remove_tree(folder)
            if not self._tree.list(folder):
                return
        raise OSError(
            f"{self._tree.full(folder)}: others publish for this speaker all "
            "the time; stop them, and erase again"
        )


def _chosen(versions, current, number):
    if number is None:
        earlier = [v for v in versions if v.number < current.number]
        if not earlier:
            raise UnknownSubmodelError(
                f"{current.speaker!r} has no version before {current.name}"
            )
        return earlier[-1]
    found = [v for v in versions if v.number == number]
    if not found:
        raise UnknownSubmodelError(
            f"{current.speaker!r} has no version {number}. It has "
            f"{', '.join(str(v.number) for v in versions[-20:])}."
        )
    return found[-1]
