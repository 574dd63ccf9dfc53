"""Walks a Submodel store, names its problems, and removes leftovers."""

import dataclasses
import hashlib
from collections import abc

from lingvo_like import files
from lingvo_like.store import audit, filesystem, layout, local_files, records
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

    An empty folder goes too; its name is "". The caller holds the lock. A
    folder whose pointer is damaged is left as it is.
    """
    names = tree.list(folder)
    try:
        removed = _leftovers(names, _pointer(tree, folder, names))
    except records.DamagedStoreError:
        return []
    for name in removed:
        tree.remove(f"{folder}/{name}")
    if not tree.list(folder) and tree.kind(folder):
        tree.remove_tree(folder)
        removed.append("")
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
        layout.AUDIT_RESERVE: "file",
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
            yield from _audit(tree, remove_leftovers)
    levels = (layout.is_digest, layout.is_prefix, layout.is_digest)
    yield from _below(tree, layout.TENANTS, levels, remove_leftovers)


def _audit(tree, remove_leftovers):
    # While nobody is writing a line.
    with tree.lock(layout.AUDIT, shared=True):
        log = tree.read(layout.AUDIT, local_files.MAX_LINES_BYTES)
    *lines, torn = log.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                audit.parse(line)
        except ValueError as error:
            yield Problem(layout.AUDIT, f"line {number} is damaged: {error}")
    if torn:
        if remove_leftovers:
            audit.mend(tree)
        yield _leftover(layout.AUDIT, remove_leftovers, "half a line, ")


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
                removed = {
                    f"{folder}/{name}".rstrip("/")
                    for name in sweep(tree, folder)
                }
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
    leftovers, pointer = [], None
    try:
        pointer = _pointer(tree, folder, names)
        leftovers = _leftovers(names, pointer)
    except OSError as error:
        yield Problem(
            layout.pointer_path(folder),
            f"{_reason(error)}; restore the file, or erase the speaker",
        )
    yield from (_leftover(f"{folder}/{name}") for name in leftovers)
    kept = set(names) - set(leftovers)
    contents = {}
    for name in sorted(kept):
        yield from _file_problems(tree, f"{folder}/{name}", contents)
    if pointer:
        yield from _pointer_problems(tree, pointer.version)
    unnamed = set(filter(layout.parse_record, kept))
    # Each record names the one that was published before it.
    seal, is_whole = pointer and pointer.latest, pointer is not None
    while seal is not None:
        name = layout.record_name(seal.name)
        unnamed.discard(name)
        path = f"{folder}/{name}"
        version = yield from _version_problems(tree, path, contents, seal)
        seal, is_whole = version and version.follows, version is not None
    for name in sorted(unnamed):
        path = f"{folder}/{name}"
        # In a bucket two may publish at once: one record has no successor.
        if is_whole and tree.has_locks:
            yield Problem(path, "stray: no other record names it")
        else:
            yield from _version_problems(tree, path, contents)


def _file_problems(tree, path, contents):
    """The problems of a file that is not what its name says.

    Args:
        contents: gets bytes and metadata of each Submodel's file by its path;
            the metadata is None if the file is altered.
    """
    name, kind = path.rpartition("/")[2], tree.kind(path)
    if kind != "file" or not (
        layout.is_blob(name)
        or layout.parse_record(name)
        or name == layout.POINTER
    ):
        yield Problem(path, _stray(kind))
    elif layout.is_blob(name):
        data = tree.read(path, submodel_file.MAX_FILE_BYTES)
        contents[path] = len(data), None
        found = hashlib.sha256(data).hexdigest()
        if not name.startswith(found):
            yield Problem(
                path, f"altered: its SHA-256 is {found}; restore the file"
            )
            return
        try:
            contents[path] = len(data), submodel_file.load(data).metadata
        except submodel_file.SubmodelError as error:
            yield Problem(path, f"{error}; restore the file")


def _pointer_problems(tree, version):
    """The problems of a pointer that differs from its record."""
    path = layout.pointer_path(version.folder)
    try:
        record = records.read_version(tree, version.record_path)
    except FileNotFoundError:
        yield Problem(
            path,
            f"points to version {version.name}, which is not there; publish "
            "its file again",
        )
    except OSError:
        pass  # A damaged record is a problem of its own.
    else:
        if record != version:
            yield Problem(
                path,
                f"differs from the record of version {version.name}; a "
                f"rollback to {version.number} writes it again",
            )


def _version_problems(tree, path, contents, seal=None):
    """The problems of a record that is damaged or contradicts its file.

    Returns:
        its version; None if it is not whole.
    """
    try:
        version = records.read_version(tree, path, seal)
    except OSError as error:
        yield Problem(path, _reason(error).removeprefix(f"{path}: "))
        return None
    num_bytes, metadata = contents.get(version.blob_path, (None, None))
    if num_bytes is None:
        yield Problem(
            version.blob_path,
            f"missing: the file of version {version.number} of "
            f"{version.speaker!r}; restore it, or publish it again",
        )
    elif num_bytes != version.num_bytes:
        message = f"must have {version.num_bytes} bytes. Received: {num_bytes}."
        yield Problem(version.blob_path, message)
    if metadata is not None:
        try:
            version.check(metadata)
        except ValueError as error:
            yield Problem(path, f"contradicts its file: {error}")
    return version


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
        latest = pointer.latest.number
        kept = {pointer.version.sha256[:12]}
    kept |= {each[1] for each in found.values() if each and each[0] <= latest}
    numbers = {each[0] for each in found.values() if each}
    # Somebody may restore a record that was lost, which needs its file.
    is_any_lost = not numbers.issuperset(range(1, latest + 1))
    return [
        name
        for name, record in found.items()
        if name.startswith(files.TEMPORARY_PREFIX)
        or (record and record[0] > latest)
        or (layout.is_blob(name) and name[:12] not in kept and not is_any_lost)
    ]


def _named(tree, folder, is_name):
    return [f"{folder}/{n}" for n in tree.list(folder) if is_name(n)]


def _leftover(path, is_removed=False, what=""):
    message = f"{what}left by a writer that was killed"
    return Problem(path, message, is_leftover=True, is_removed=is_removed)


def _stray(kind):
    if kind == "link":
        return "a symbolic link, which the store never follows"
    what = kind if kind in ("file", "folder") else "pipe or device"
    return f"stray: a {what} that is not part of the store"


def _reason(error):
    return error.strerror or str(error)
