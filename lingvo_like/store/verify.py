"""Walks a Submodel store, names what is wrong, sweeps up leftovers."""

import contextlib
import dataclasses
import hashlib

from lingvo_like import files, json_values
from lingvo_like.store import layout
from lingvo_like.submodel import file as submodel_file

_HEX = set("0123456789abcdef")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing in a store that is not as it should be.

    Attributes:
        path: str, relative to the store.
        message: str.
        is_leftover: bool; harmless, what a killed writer left.
        is_removed: bool, whether it was a leftover and is gone now.
    """

    path: str
    message: str
    is_leftover: bool = False
    is_removed: bool = False


def speakers(tree, tenants=None):
    """Relative paths of the speakers' folders.

    Args:
        tree: `LocalFiles` or `RemoteFiles`.
        tenants: relative paths of tenants' folders; None for all.
    """
    top = layout.TENANTS
    if tenants is None:
        tenants = [f"{top}/{n}" for n in tree.list(top) if layout.is_digest(n)]
    for tenant in tenants:
        for prefix in filter(_is_prefix, tree.list(tenant)):
            for name in tree.list(f"{tenant}/{prefix}"):
                if layout.is_digest(name):
                    yield f"{tenant}/{prefix}/{name}"


def sweep(records, folder):
    """Removes what killed writers left of a speaker.

    The caller holds the speaker's lock. A folder whose pointer is damaged is
    left as it is.

    Returns:
        list of the names that were removed.
    """
    names = records.tree.list(folder)
    try:
        pointer = _pointer(records, folder, names)
    except layout.DamagedStoreError:
        return []
    removed = layout.leftovers(names, pointer)
    for name in removed:
        records.tree.remove(f"{folder}/{name}")
    return removed


def walk(records, remove_leftovers):
    """Iterator of the `Problem`s of a whole store; see `SubmodelStore`."""
    yield from _top(records.tree, remove_leftovers)
    level = [layout.TENANTS]
    for kind in ("tenant", "prefix", "speaker"):
        # Named at once, not kept: a store has many speakers.
        level = _inside(records.tree, level, kind)
    for found in level:
        if isinstance(found, Problem):
            yield found
        else:
            yield from _speaker(records, found, remove_leftovers)


def _top(tree, remove_leftovers):
    known = {
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
        elif name not in known:
            yield Problem(name, "stray: not of the store")
        elif tree.kind(name) != known[name]:
            yield Problem(name, f"must be a {known[name]}, and no link")
        elif name == layout.AUDIT:
            yield from _audit(tree, name)


def _audit(tree, path):
    lines = tree.read(path, 1 << 40).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line and not isinstance(json_values.strict_json(line), dict):
                raise ValueError("not an object")
        except ValueError as error:
            yield Problem(path, f"line {number} is damaged: {error}")


def _inside(tree, folders, kind):
    """Folders inside of folders, and `Problem`s with what else is there."""
    is_name = _is_prefix if kind == "prefix" else layout.is_digest
    for folder in folders:
        if isinstance(folder, Problem):
            yield folder
            continue
        try:
            found = {
                name: tree.kind(f"{folder}/{name}")
                for name in tree.list(folder)
            }
        except OSError as error:
            yield Problem(folder, _reason(error))
            continue
        for name, what in found.items():
            path = f"{folder}/{name}"
            if what is None or (kind == "speaker" and name == layout.LOCK):
                continue
            if what != "folder" or not is_name(name):
                yield Problem(path, _stray(what))
            elif kind == "speaker" and name[:2] != folder[-2:]:
                yield Problem(path, "stray: the speaker of another folder")
            else:
                yield path


def _speaker(records, folder, remove_leftovers):
    """The problems of one speaker, whom nobody writes meanwhile."""
    tree, removed = records.tree, set()
    try:
        with records.lock(folder, shared=not remove_leftovers):
            if tree.kind(folder) is None:
                return
            problems = list(_speaker_problems(records, folder))
            if remove_leftovers:
                removed = {f"{folder}/{n}" for n in sweep(records, folder)}
                if not tree.list(folder):
                    tree.remove_tree(folder)
                    removed.add(folder)
    except OSError as error:
        problems = [Problem(folder, _reason(error))]
    for problem in problems:
        is_removed = problem.path in removed
        yield dataclasses.replace(problem, is_removed=is_removed)


def _speaker_problems(records, folder):
    tree = records.tree
    names = tree.list(folder)
    if not names:
        yield _leftover(folder)
        return
    leftovers = []
    try:
        pointer = _pointer(records, folder, names)
        leftovers = layout.leftovers(names, pointer)
    except OSError as error:
        yield Problem(
            f"{folder}/{layout.POINTER}",
            f"{_reason(error)}; restore the file, or erase the speaker",
        )
    else:
        if pointer:
            yield from _pointer_problems(records, pointer.version)
    yield from (_leftover(f"{folder}/{name}") for name in leftovers)
    sizes = {}
    for name in sorted(set(names) - set(leftovers)):
        path = f"{folder}/{name}"
        kind = tree.kind(path)
        if kind != "file":
            yield Problem(path, _stray(kind))
        elif layout.is_blob(name):
            data = tree.read(path, submodel_file.MAX_FILE_BYTES)
            sizes[path] = len(data)
            found = hashlib.sha256(data).hexdigest()
            if not name.startswith(found):
                yield Problem(
                    path, f"altered: its SHA-256 is {found}; restore the file"
                )
        elif layout.record_number(name) is None and name != layout.POINTER:
            yield Problem(path, _stray(kind))
    for name in sorted(set(names) - set(leftovers)):
        if layout.record_number(name) is not None:
            yield from _version_problems(records, f"{folder}/{name}", sizes)


def _pointer_problems(records, version):
    """Whether the pointer repeats the record that it points to."""
    path = f"{version.folder}/{layout.POINTER}"
    # A damaged record is named where the records are looked at.
    with contextlib.suppress(layout.DamagedStoreError):
        try:
            record = records.read(layout.Version, version.record_path)
        except FileNotFoundError:
            yield Problem(
                path, f"points to version {version.name}, which is not there"
            )
        else:
            if record != version:
                yield Problem(
                    path, f"differs from the record of version {version.name}"
                )


def _version_problems(records, path, sizes):
    """Whether a record is whole and its file is there."""
    try:
        version = records.read(layout.Version, path)
    except OSError as error:
        yield Problem(path, _reason(error))
        return
    if version.blob_path not in sizes:
        yield Problem(
            version.blob_path,
            f"missing: the file of version {version.number} of "
            f"{version.speaker!r}; restore it, or publish it again",
        )
    elif sizes[version.blob_path] != version.num_bytes:
        yield Problem(
            version.blob_path,
            f"must have {version.num_bytes} bytes. "
            f"Received: {sizes[version.blob_path]}.",
        )


def _pointer(records, folder, names):
    """The `Pointer` of a folder, or None."""
    if layout.POINTER not in names:
        return None
    return records.read(layout.Pointer, f"{folder}/{layout.POINTER}")


def _leftover(path, is_removed=False):
    message = "left by a writer that was killed"
    return Problem(path, message, is_leftover=True, is_removed=is_removed)


def _stray(kind):
    if kind == "link":
        return "a symbolic link, which the store never follows"
    what = kind if kind in ("file", "folder") else "pipe or device"
    return f"stray: a {what} that is not of the store"


def _reason(error):
    return error.strerror or str(error)


def _is_prefix(name):
    return len(name) == 2 and set(name) <= _HEX
