"""What lies where in a Submodel store, and the records in it.

    store.json                    what this folder is, and its format
    audit.jsonl                   who was erased or rolled back, when and why;
                                  in a bucket audit/, an object for each line
    tenants/TENANT/AB/.lock       held by who writes one of AB's speakers
    tenants/TENANT/AB/SPEAKER/    all that there is of one speaker
        current.json              the pointer: which version serves
        v000003-5b1f09aa42cd.json one version's record
        5b1f09aa42cd....safetensors its file, named by its SHA-256

TENANT and SPEAKER are SHA-256 of the ids, AB the first two digits of SPEAKER:
no id can name a way out, ids that differ in case alone stay two on every file
system, and no folder gets long. The ids are in the records. Files are a
speaker's own even where two speakers published the same bytes, so erasing one
never takes from another.
"""

import dataclasses
import hashlib
import json
import re

from lingvo_like import files, hyperparams, json_values
from lingvo_like.store import gate as submodel_store_gate
from lingvo_like.submodel import file as submodel_file

FORMAT_VERSION = 1
MARKER = "store.json"
AUDIT = "audit.jsonl"
AUDIT_FOLDER = "audit"
TENANTS = "tenants"
POINTER = "current.json"
LOCK = ".lock"
MAX_RECORD_BYTES = 1 << 16

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(r"v(\d{6,})-([0-9a-f]{12})\.json")


class InvalidIdError(ValueError):
    """A tenant's or speaker's id is not one that the store takes."""


class UnknownSubmodelError(LookupError):
    """Nothing is published under that name, or it was erased."""


class DamagedStoreError(OSError):
    """A file of the store is not what was written; `verify` finds all."""


def check_id(kind, text):
    """Refuses an id that is anything but plain.

    Args:
        kind: str, how the message calls it, such as "speaker".
        text: 1 to 128 ASCII letters, digits, dots, underscores and hyphens,
            the first a letter or digit, no two dots in a row.

    Returns:
        `text`.

    Raises:
        InvalidIdError: it is something else.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text) or ".." in text:
        shown = ascii(text)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise InvalidIdError(
            f"the {kind} id must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and "
            "'-', with a letter or digit first and no two dots in a row. "
            f"Received: {shown}."
        )
    return text


@dataclasses.dataclass(frozen=True)
class Version:
    """One published Submodel: immutable, and its file named by its content.

    Attributes:
        tenant: str.
        speaker: str, the id that requests name.
        number: int, from 1.
        sha256: str, of the file's bytes.
        num_bytes: int, of the file.
        base_fingerprint: str, of the base model that it is for.
        published_at: str, UTC in ISO 8601.
        gate: `Gate` that it passed, or None.
    """

    tenant: str
    speaker: str
    number: int
    sha256: str
    num_bytes: int
    base_fingerprint: str
    published_at: str
    gate: submodel_store_gate.Gate | None = None

    def __post_init__(self):
        check_id("tenant", self.tenant)
        check_id("speaker", self.speaker)
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(
            self.sha256
        ):
            raise ValueError(
                "`sha256` must be 64 hexadecimal digits. "
                f"Received: {str(self.sha256)[:80]!r}."
            )
        for name in ("base_fingerprint", "published_at"):
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

    @property
    def name(self):
        """Number and the start of the checksum, such as `3-5b1f09aa42cd`."""
        return f"{self.number}-{self.sha256[:12]}"

    @property
    def folder(self):
        return speaker_folder(self.tenant, self.speaker)

    @property
    def record_path(self):
        name = f"v{self.number:06d}-{self.sha256[:12]}.json"
        return f"{self.folder}/{name}"

    @property
    def blob_path(self):
        return f"{self.folder}/{self.sha256}{submodel_file.SUFFIX}"


@dataclasses.dataclass(frozen=True)
class Pointer:
    """Which version serves; what it does not know of is not published.

    Attributes:
        version: `Version`, the current one, whole, so that resolving it is
            one read.
        latest: int, the highest number published so far. A record of a
            higher one is what a killed writer left.
    """

    version: Version
    latest: int

    def __post_init__(self):
        if type(self.latest) is not int or self.latest < self.version.number:
            raise ValueError(
                f"`latest` must be at least {self.version.number}. "
                f"Received: {self.latest}."
            )


def tenant_folder(tenant):
    """Relative path of a tenant's folder."""
    return f"{TENANTS}/{_digest(check_id('tenant', tenant))}"


def speaker_folder(tenant, speaker):
    """Relative path of a speaker's folder.

    Raises:
        InvalidIdError: see `check_id`.
    """
    parent = tenant_folder(tenant)
    # With the tenant, so that a folder copied to another tenant does not fit.
    digest = _digest(f"{tenant}/{check_id('speaker', speaker)}")
    return f"{parent}/{digest[:2]}/{digest}"


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(record):
    """The bytes of a `Version`'s or a `Pointer`'s file.

    Raises:
        ValueError: a field is far too long.
    """
    fields = {
        "format_version": FORMAT_VERSION,
        **hyperparams.to_dict(record),
    }
    data = (json.dumps(fields, indent=1, allow_nan=False) + "\n").encode()
    # Readers refuse longer ones.
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(
            f"a version's record has {len(data)} bytes, at most "
            f" {MAX_RECORD_BYTES}: its base "
            "fingerprint or the gate's source is too long"
        )
    return data


def from_json(cls, data, path):
    """The inverse of `to_json`.

    Args:
        cls: `Version` or `Pointer`.
        data: bytes.
        path: str, relative path where they were found.

    Raises:
        DamagedStoreError: they are not that, or belong in another folder.
    """
    try:
        fields = json_values.strict_json(data.decode())
        if not isinstance(fields, dict) or not isinstance(
            fields.get("version", {}), dict
        ):
            raise ValueError("must be a JSON object")
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"the format version must be {FORMAT_VERSION}. "
                f"Received: {version!r}."
            )
        found = _version(fields["version"] if cls is Pointer else fields)
        record = found
        if cls is Pointer:
            record = Pointer(**{**fields, "version": found})
        here = path.rpartition("/")[0]
        if found.folder != here:
            raise ValueError("the record of another speaker")
        if cls is Version and found.record_path != path:
            raise ValueError("the record of another version")
    except (KeyError, TypeError, ValueError) as error:
        # Missing and unknown fields are TypeErrors.
        raise DamagedStoreError(f"{path}: damaged: {error}") from None
    return record


def _version(fields):
    # By hand: every resolve does it, and `hyperparams` takes 150 us.
    gate = fields.get("gate")
    if gate is not None:
        gate = hyperparams.from_dict(submodel_store_gate.Gate, gate)
    return Version(**{**fields, "gate": gate})


def record_number(name):
    """The number in a record's file name, or None for another file."""
    found = _RECORD.fullmatch(name)
    return found and int(found[1])


def is_blob(name):
    """Whether a file name is that of a Submodel's file."""
    stem = name.removesuffix(submodel_file.SUFFIX)
    return stem != name and bool(_SHA256.fullmatch(stem))


def is_digest(name):
    return bool(_SHA256.fullmatch(name))


def leftovers(names, pointer):
    """Files of a speaker's folder that killed writers left.

    Args:
        names: file names in the folder.
        pointer: `Pointer`, or None where there is none, since a first publish
            or an erase was cut off.
    """
    found = [_RECORD.fullmatch(name) for name in names]
    latest = pointer.latest if pointer else 0
    kept = {each[2] for each in found if each and int(each[1]) <= latest}
    if pointer:
        # Even if its record was lost: it serves.
        kept.add(pointer.version.sha256[:12])
    return [
        name
        for name, record in zip(names, found, strict=True)
        if name.startswith(files.TEMPORARY_PREFIX)
        or (record and int(record[1]) > latest)
        or (is_blob(name) and name[:12] not in kept)
    ]
