"""Walks a Submodel store, names its problems, and removes leftovers."""

import contextlib
import dataclasses
import hashlib
from collections import abc

from lingvo_like import files, json_values
from lingvo_like.store import filesystem, layout, records
from lingvo_like.submodel import file as submodel_file


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing in a store that is not as it should be.

    Attributes:
        path: relative to the store.
        message: says what is wrong.
        is_leftover: whether it is harmless, left by a writer that was killed.
        is_removed: whether it was a leftover and is gone now.
    """

    path: str
    message: str
    is_leftover: bool = False
    is_removed: bool = False


def speaker_folders(
    tree: filesystem.Files, tenant: str | None = None
) -> abc.Iterator[str]:
    """Paths of the speakers' folders, of one tenant or of all."""
    if tenant is None:
        tenants = _named(tree, layout.TENANTS, layout.is_digest)
    else:
        tenants = [layout.tenant_folder(tenant)]
    for folder in tenants:
        for prefix in _named(tree, folder, layout.is_prefix):
            yield from _named(tree, prefix, layout.is_digest)


def sweep(tree: filesystem.Files, folder: str) -> list[str]:
    """Removes the leftovers of a speaker, and returns their names.

    The caller holds the lock. A folder whose pointer is damaged is left as it
    is.
    """
    names = tree.list(folder)
    try:
        removed = _leftovers(names, _pointer(tree, folder, names))
    except records.DamagedStoreError:
        return []
    for name in removed:
        tree.remove(f"{folder}/{name}")
    return removed


def walk(
    tree: filesystem.Files, remove_leftovers: bool
) -> abc.Iterator[Problem]:
    """Yields the problems of a whole store.

    It looks at the top, goes down the folders of tenants and prefixes, and
    holds the lock of each speaker while it reads that speaker's files.
    """
    kinds = {
        layout.MARKER: "file",
        layout.AUDIT: "file",
        layout.AUDIT_FOLDER: "folder",
        layout.TENANTS: "folder",
    }
    for name in tree.list(""):
        if name.startswith(files.TEMPORARY_PREFIX):
            if remove_leftovers:
                tree.remove(name)
            yield _leftover(name, remove_leftovers)
        elif name not in kinds:
            yield Problem(name, "stray: not part of the store")
        elif tree.kind(name) != kinds[name]:
            yield Problem(name, f"must be a {kinds[name]}, and no link")
        elif name == layout.AUDIT:
            yield from _audit(tree)
    levels = (layout.is_digest, layout.is_prefix, layout.is_digest)
    yield from _below(tree, layout.TENANTS, levels, remove_leftovers)


def _audit(tree):
    lines = tree.read(layout.AUDIT, 1 << 40).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line and not isinstance(
                json_values.strict_json(line.decode()), dict
            ):
                raise ValueError("not an object")
        except ValueError as error:
            yield Problem(layout.AUDIT, f"line {number} is damaged: {error}")


def _below(tree, folder, levels, remove_leftovers):
    """The problems in a folder, whose folders have the names of a level."""
    is_name, *deeper = levels
    try:
        kinds = {
            name: tree.kind(f"{folder}/{name}") for name in tree.list(folder)
        }
    except OSError as error:
        yield Problem(folder, _reason(error))
        return
    for name, kind in kinds.items():
        path = f"{folder}/{name}"
        if kind is None or (name == layout.LOCK and not deeper):
            continue
        if kind != "folder" or not is_name(name):
            yield Problem(path, _stray(kind))
        elif deeper:
            yield from _below(tree, path, deeper, remove_leftovers)
        elif name[:2] != folder[-2:]:
            yield Problem(path, "stray: the speaker of another folder")
        else:
            yield from _speaker(tree, path, remove_leftovers)


def _speaker(tree, folder, remove_leftovers):
    """The problems of one speaker, while nobody writes there."""
    removed = set()
    try:
        with tree.lock(layout.lock_path(folder), shared=not remove_leftovers):
            if tree.kind(folder) is None:
                return
            problems = list(_speaker_problems(tree, folder))
            if remove_leftovers:
                removed = {f"{folder}/{name}" for name in sweep(tree, folder)}
                if not tree.list(folder):
                    tree.remove_tree(folder)
                    removed.add(folder)
    except OSError as error:
        problems = [Problem(folder, _reason(error))]
    for problem in problems:
        is_removed = problem.path in removed
        yield dataclasses.replace(problem, is_removed=is_removed)


def _speaker_problems(tree, folder):
    names = tree.list(folder)
    if not names:
        yield _leftover(folder)
        return
    leftovers = []
    try:
        pointer = _pointer(tree, folder, names)
        leftovers = _leftovers(names, pointer)
    except OSError as error:
        yield Problem(
            layout.pointer_path(folder),
            f"{_reason(error)}; restore the file, or erase the speaker",
        )
    else:
        if pointer:
            yield from _pointer_problems(tree, pointer.version)
    yield from (_leftover(f"{folder}/{name}") for name in leftovers)
    kept = sorted(set(names) - set(leftovers))
    sizes = {}
    for name in kept:
        path = f"{folder}/{name}"
        kind = tree.kind(path)
        if kind == "file" and layout.is_blob(name):
            data = tree.read(path, submodel_file.MAX_FILE_BYTES)
            sizes[path] = len(data)
            found = hashlib.sha256(data).hexdigest()
            if not name.startswith(found):
                yield Problem(
                    path, f"altered: its SHA-256 is {found}; restore the file"
                )
        elif kind != "file" or not (
            layout.parse_record(name) or name == layout.POINTER
        ):
            yield Problem(path, _stray(kind))
    for name in filter(layout.parse_record, kept):
        yield from _version_problems(tree, f"{folder}/{name}", sizes)


def _pointer_problems(tree, version):
    """Whether the pointer repeats the record that it points to."""
    path = layout.pointer_path(version.folder)
    # A damaged record is a problem of its own.
    with contextlib.suppress(records.DamagedStoreError):
        try:
            record = records.read_version(tree, version.record_path)
        except FileNotFoundError:
            message = f"points to version {version.name}, which is not there"
            yield Problem(path, message)
            return
        if record != version:
            message = f"differs from the record of version {version.name}"
            yield Problem(path, message)


def _version_problems(tree, path, sizes):
    """Whether a record is whole and its file is there, of the right size."""
    try:
        version = records.read_version(tree, path)
    except OSError as error:
        yield Problem(path, _reason(error))
        return
    num_bytes = sizes.get(version.blob_path)
    if num_bytes is None:
        yield Problem(
            version.blob_path,
            f"missing: the file of version {version.number} of "
            f"{version.speaker!r}; restore it, or publish it again",
        )
    elif num_bytes != version.num_bytes:
        message = f"must have {version.num_bytes} bytes. Received: {num_bytes}."
        yield Problem(version.blob_path, message)


def _pointer(tree, folder, names):
    """The pointer of a folder with these names; None if it has none."""
    if layout.POINTER not in names:
        return None
    return records.read_pointer(tree, folder)


def _leftovers(names, pointer):
    """The names in a speaker's folder that killed writers left.

    There is no pointer if a first publish or an erase was cut off.
    """
    found = {name: layout.parse_record(name) for name in names}
    latest, kept = 0, set()
    if pointer:
        # Its file serves, even if its record was lost.
        latest, kept = pointer.latest, {pointer.version.sha256[:12]}
    kept |= {each[1] for each in found.values() if each and each[0] <= latest}
    return [
        name
        for name, record in found.items()
        if name.startswith(files.TEMPORARY_PREFIX)
        or (record and record[0] > latest)
        or (layout.is_blob(name) and name[:12] not in kept)
    ]


def _named(tree, folder, is_name):
    return [f"{folder}/{n}" for n in tree.list(folder) if is_name(n)]


def _leftover(path, is_removed=False):
    message = "left by a writer that was killed"
    return Problem(path, message, is_leftover=True, is_removed=is_removed)


def _stray(kind):
    if kind == "link":
        return "a symbolic link, which the store never follows"
    what = kind if kind in ("file", "folder") else "pipe or device"
    return f"stray: a {what} that is not part of the store"


def _reason(error):
    return error.strerror or str(error)
