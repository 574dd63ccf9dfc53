"""The folders and files of a Submodel store.

    store.json                    marks the folder as a store, with its format
    audit.jsonl                   who erased or rolled back whom, when and why;
                                  in a bucket audit/, an object for each line
    audit.reserve                 keeps room for lines of it on a full disk
    tenants/TENANT/AB/.lock       held by the writer of any of AB's speakers
    tenants/TENANT/AB/SPEAKER/    everything about one speaker
        current.json              the pointer to the version that serves
        v000003-5b1f09aa42cd.json the record of one version
        5b1f09aa42cd....safetensors its file, named by its SHA-256

TENANT and SPEAKER are SHA-256 digests of the ids, and AB is the first two
digits of SPEAKER. So no id can lead out of the store, ids that differ only in
case stay apart on every file system, and no folder grows large. The ids are in
the records. Each speaker has its own files, even if two speakers published the
same bytes, so erasing one never takes anything from another.
"""

import hashlib
import re

from lingvo_like.store import ids
from lingvo_like.submodel import file as submodel_file

MARKER = "store.json"
AUDIT = "audit.jsonl"
AUDIT_FOLDER = "audit"
AUDIT_RESERVE = "audit.reserve"
TENANTS = "tenants"
POINTER = "current.json"
LOCK = ".lock"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{2}")
_VERSION = re.compile(r"([1-9]\d{0,17})-([0-9a-f]{12})")
_RECORD = re.compile(r"v(\d{6,})-([0-9a-f]{12})\.json")


def tenant_folder(tenant: str) -> str:
    """Path of a tenant's folder, relative to the store, as all paths are."""
    return f"{TENANTS}/{_digest(ids.check_id('tenant', tenant))}"


def speaker_folder(tenant: str, speaker: str) -> str:
    """Path of a speaker's folder; raises as `ids.check_id`."""
    parent = tenant_folder(tenant)
    # The tenant is part of it, so that a folder that is copied to another
    # tenant does not fit there.
    digest = _digest(f"{tenant}/{ids.check_id('speaker', speaker)}")
    return f"{parent}/{digest[:2]}/{digest}"


def lock_path(folder: str) -> str:
    return f"{folder.rpartition('/')[0]}/{LOCK}"


def pointer_path(folder: str) -> str:
    return f"{folder}/{POINTER}"


def record_name(version: str) -> str:
    """The name of a version's record; "" if this is no name of a version."""
    found = _VERSION.fullmatch(version)
    return f"v{int(found[1]):06d}-{found[2]}.json" if found else ""


def parse_record(name: str) -> tuple[int, str] | None:
    """Number and first digits of the SHA-256 in a record's name, or None."""
    found = _RECORD.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def is_blob(name: str) -> bool:
    """Whether a Submodel's file has this name."""
    stem = name.removesuffix(submodel_file.SUFFIX)
    return stem != name and is_digest(stem)


def is_digest(name: str) -> bool:
    return bool(_SHA256.fullmatch(name))


def is_prefix(name: str) -> bool:
    """Whether a folder of speakers has this name."""
    return bool(_PREFIX.fullmatch(name))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
