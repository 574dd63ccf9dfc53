"""The records of a Submodel store: its marker, versions and pointers.

Each version's record holds the SHA-256 of the record that was published before
it, and the pointer that of the latest. So no record can change, or go missing,
unnoticed.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
from collections import abc

from lingvo_like import files, hyperparams, json_values
from lingvo_like.store import filesystem, ids, layout, quality_gate
from lingvo_like.submodel import (
    file as submodel_file,
    metadata as submodel_metadata,
)

FORMAT_VERSION = 2
_MAX_BYTES = 1 << 16


class DamagedStoreError(OSError):
    """A file of the store is not what was written; `verify` finds them all."""


class UnknownSubmodelError(LookupError):
    """Nothing is published under that name, or it was erased."""


@dataclasses.dataclass(frozen=True)
class Seal:
    """The name of a version, and the SHA-256 of its record's bytes."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not layout.record_name(self.name):
            raise ValueError(
                f"`name` must be that of a version. Received: {self.name!r}."
            )
        _check_sha256(self.sha256)

    @property
    def number(self) -> int:
        return int(self.name.partition("-")[0])


@dataclasses.dataclass(frozen=True)
class Version:
    """One published Submodel. It never changes, and its content names its file.

    Attributes:
        speaker: the id that requests name.
        number: from 1.
        sha256: of the file's bytes.
        published_at: UTC in ISO 8601.
        source: the path that its file was published from, or "".
        gate: the evidence that it passed, if any.
        replaced: the version that served when this one was published; a
            rollback goes there. None if there was none.
        follows: the version that was published before; None for the first. It
            is another than `replaced` after a rollback.
    """

    tenant: str
    speaker: str
    number: int
    sha256: str
    num_bytes: int
    base_fingerprint: str
    published_at: str
    source: str = ""
    gate: quality_gate.Gate | None = None
    replaced: Seal | None = None
    follows: Seal | None = None

    def __post_init__(self) -> None:
        ids.check_id("tenant", self.tenant)
        ids.check_id("speaker", self.speaker)
        _check_sha256(self.sha256)
        for name in ("base_fingerprint", "published_at", "source"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ValueError(
                    f"`{name}` must be a string. Received: {value!r}."
                )
        for name in ("number", "num_bytes"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {value!r}."
                )
        for name in ("replaced", "follows"):
            seal = getattr(self, name)
            if seal is not None and seal.number >= self.number:
                raise ValueError(
                    f"`{name}` must be before version {self.number}. "
                    f"Received: {seal.name!r}."
                )

    @property
    def name(self) -> str:
        """Number and start of the checksum, such as `3-5b1f09aa42cd`."""
        return f"{self.number}-{self.sha256[:12]}"

    @property
    def folder(self) -> str:
        return layout.speaker_folder(self.tenant, self.speaker)

    @property
    def record_path(self) -> str:
        return f"{self.folder}/{layout.record_name(self.name)}"

    @property
    def blob_path(self) -> str:
        return f"{self.folder}/{self.sha256}{submodel_file.SUFFIX}"

    @property
    def seal(self) -> Seal:
        return Seal(self.name, hashlib.sha256(to_json(self)).hexdigest())

    def check(self, metadata: submodel_metadata.Metadata) -> None:
        """Holds the record against the metadata of the Submodel's file.

        Raises:
            ValueError: they contradict each other.
        """
        if self.base_fingerprint != metadata.base_fingerprint:
            raise ValueError(
                "the record's `base_fingerprint` must be the file's, "
                f"{metadata.base_fingerprint}. Received: "
                f"{self.base_fingerprint}."
            )
        if self.gate is not None:
            self.gate.check(metadata)


@dataclasses.dataclass(frozen=True)
class Pointer:
    """Says which version serves. Only versions up to `latest` are published.

    Attributes:
        version: the current one, whole, so that one read resolves it.
        latest: the last one that was published. A writer that was killed may
            have left a record with a higher number.
    """

    version: Version
    latest: Seal

    def __post_init__(self) -> None:
        if self.latest.number < self.version.number:
            raise ValueError(
                f"`latest` must be at least version {self.version.number}. "
                f"Received: {self.latest.name!r}."
            )


def now() -> str:
    """UTC in ISO 8601, to the millisecond."""
    time = datetime.datetime.now(datetime.UTC)
    return time.isoformat(timespec="milliseconds")


def to_json(record: Version | Pointer) -> bytes:
    """The bytes of a record's file; a ValueError if they are too many."""
    fields = {"format_version": FORMAT_VERSION, **hyperparams.to_dict(record)}
    data = (json.dumps(fields, indent=1, allow_nan=False) + "\n").encode()
    # Readers refuse longer ones.
    if len(data) > _MAX_BYTES:
        raise ValueError(
            f"a version's record must have at most {_MAX_BYTES} bytes. "
            f"Received: {len(data)}. Its base fingerprint or the gate's source "
            "or the source's path is too long."
        )
    return data


def read_version(
    tree: filesystem.Files, path: str, seal: Seal | None = None
) -> Version:
    """Reads the record of a version.

    Args:
        seal: what another record says of this one, if that is known.

    Raises:
        FileNotFoundError: it is not there, and there is no seal.
        DamagedStoreError: it is damaged, altered, missing, or belongs
            elsewhere.
    """
    try:
        data = tree.read(path, _MAX_BYTES)
    except FileNotFoundError:
        if seal is None:
            raise
        raise DamagedStoreError(
            f"{path}: missing: restore the record"
        ) from None
    with _damaged(path):
        version = _version(_fields(data))
        _check_folder(version, path)
        if version.record_path != path:
            raise ValueError("the record of another version")
        found = hashlib.sha256(data).hexdigest()
        if seal is not None and found != seal.sha256:
            raise ValueError(
                f"altered: the SHA-256 must be {seal.sha256}. "
                f"Received: {found}. Restore the record."
            )
    return version


def published(
    tree: filesystem.Files, pointer: Pointer
) -> abc.Iterator[Version]:
    """Yields all versions from the latest to the first, as records have them.

    Each record is checked against what the one after it says of it.

    Raises:
        DamagedStoreError: a record is missing, damaged or altered.
    """
    seal: Seal | None = pointer.latest
    while seal is not None:
        name = layout.record_name(seal.name)
        path = f"{pointer.version.folder}/{name}"
        version = read_version(tree, path, seal)
        yield version
        seal = version.follows


def read_pointer(tree: filesystem.Files, folder: str) -> Pointer:
    """Reads the pointer in a speaker's folder; raises as `read_version`."""
    path = layout.pointer_path(folder)
    data = tree.read(path, _MAX_BYTES)
    with _damaged(path):
        fields = _fields(data)
        version = _version(fields.pop("version"))
        _check_folder(version, path)
        return Pointer(version, Seal(**fields.pop("latest")), **fields)


def write_marker(tree: filesystem.Files) -> None:
    """Makes a store of a folder; a ValueError if it holds something else."""
    tree.make_folder("")
    prefix = files.TEMPORARY_PREFIX
    names = [name for name in tree.list("") if not name.startswith(prefix)]
    # Another process may have made it just now.
    if names and layout.MARKER not in names:
        raise ValueError(
            f"{tree.root}: not a Submodel store, and not empty: {names[0]!r} "
            "is there. Name another folder."
        )
    fields = {"format_version": FORMAT_VERSION}
    tree.write(layout.MARKER, json.dumps(fields).encode() + b"\n")


def check_marker(tree: filesystem.Files) -> None:
    """Raises an error unless the folder is a store of this format.

    Raises:
        FileNotFoundError: it is no store.
        DamagedStoreError: its marker is damaged.
        ValueError: its format is another one.
    """
    try:
        data = tree.read(layout.MARKER, _MAX_BYTES)
        version = json_values.strict_json(data.decode())["format_version"]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{tree.root}: no Submodel store is there; check the path, or "
            "publish a Submodel to make one"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise DamagedStoreError(
            f"{tree.full(layout.MARKER)}: damaged: not the description of a "
            "Submodel store"
        ) from None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{tree.root}: the store's format version must be "
            f"{FORMAT_VERSION}. Received: {version!r}."
        )


@contextlib.contextmanager
def _damaged(path):
    try:
        yield
    # Missing and unknown fields are KeyErrors and TypeErrors.
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStoreError(f"{path}: damaged: {error}") from None


def _fields(data):
    fields = json_values.strict_object(data.decode())
    version = fields.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"the format version must be {FORMAT_VERSION}. "
            f"Received: {version!r}."
        )
    return fields


def _version(fields):
    if not isinstance(fields, dict):
        raise ValueError("`version` must be a JSON object")
    # By hand: every resolve does this, and `hyperparams` takes 150 us.
    values = dict(fields)
    if fields.get("gate") is not None:
        values["gate"] = hyperparams.from_dict(
            quality_gate.Gate, fields["gate"]
        )
    for name in ("replaced", "follows"):
        if fields.get(name) is not None:
            values[name] = Seal(**fields[name])
    return Version(**values)


def _check_sha256(value):
    if not isinstance(value, str) or not layout.is_digest(value):
        raise ValueError(
            f"`sha256` must be 64 hexadecimal digits. Received: {value!r:.80}."
        )


def _check_folder(version, path):
    if version.folder != path.rpartition("/")[0]:
        raise ValueError("the record of another speaker")
