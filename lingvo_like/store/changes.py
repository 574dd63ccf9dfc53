"""Changes to a speaker's folder; the caller holds the speaker's lock."""

import dataclasses

from lingvo_like.store import filesystem, layout, records, verify

# How often an erase looks again for what a publish in a bucket adds.
_ERASE_ROUNDS = 20


def publish(
    tree: filesystem.Files,
    version: records.Version,
    data: bytes,
    pointer: records.Pointer | None,
) -> records.Version:
    """The new current version, or the same one again.

    Args:
        version: with everything but its place among the others.
        pointer: the speaker's now; None if nothing is published.

    Raises:
        UnknownSubmodelError: in a bucket, the speaker was erased meanwhile.
    """
    folder = version.folder
    current = pointer.version if pointer else None
    sweep(tree, folder)
    tree.make_folder(folder)
    try:
        stored = tree.read(version.blob_path, len(data))
    except OSError:
        stored = None
    # A file that is missing or was altered is written: this repairs it.
    if stored != data:
        tree.write(version.blob_path, data)
    if current is not None and current.sha256 == version.sha256:
        _mend_record(tree, pointer)
        return current
    # In a bucket leftovers stay, and keep their numbers.
    taken = numbers(tree, folder)
    taken += [pointer.latest.number] if pointer else []
    version = dataclasses.replace(
        version,
        number=1 + max(taken, default=0),
        replaced=current.seal if current else None,
        follows=pointer.latest if pointer else None,
    )
    _record(tree, version)
    point_to(tree, version, version.seal)
    if not tree.has_locks:
        _check_not_erased(tree, version)
    return version


def point_to(
    tree: filesystem.Files, version: records.Version, latest: records.Seal
) -> None:
    """Makes a version the current one; `latest` as in `Pointer`."""
    pointer = records.Pointer(version, latest)
    path = layout.pointer_path(version.folder)
    tree.write(path, records.to_json(pointer))


def rollback_target(
    tree: filesystem.Files, pointer: records.Pointer, number: int | None
) -> records.Version:
    """The version that a rollback goes to, its record checked.

    Raises:
        UnknownSubmodelError: there is none.
        DamagedStoreError: its record, or one that vouches for it, is damaged.
    """
    current = pointer.version
    if number is None:
        if current.replaced is None:
            raise records.UnknownSubmodelError(
                f"{current.speaker!r} has no version before {current.name}"
            )
        name = layout.record_name(current.replaced.name)
        path = f"{current.folder}/{name}"
        return records.read_version(tree, path, current.replaced)
    found = []
    for version in records.published(tree, pointer):
        if version.number == number:
            return version
        found.append(version.number)
    raise records.UnknownSubmodelError(
        f"{current.speaker!r} has no version {number}. It has "
        f"{', '.join(map(str, found[19::-1]))}."
    )


def numbers(tree: filesystem.Files, folder: str) -> list[int]:
    """The numbers of all records in a folder."""
    found = map(layout.parse_record, tree.list(folder))
    return [record[0] for record in found if record]


def sweep(tree: filesystem.Files, folder: str) -> None:
    """Removes what killed or failed writers left, where there are locks."""
    if tree.has_locks:
        verify.sweep(tree, folder)


def remove(tree: filesystem.Files, folder: str) -> None:
    """Removes everything of a speaker, who is unknown from then on.

    Raises:
        OSError: others publish for the speaker all the time.
    """
    for _ in range(_ERASE_ROUNDS):
        # The pointer first, so that nobody resolves to a missing file.
        pointer = layout.pointer_path(folder)
        if tree.kind(pointer) != "folder":
            tree.remove(pointer)
        tree.remove_tree(folder)
        if not tree.list(folder):
            return
    raise OSError(
        f"{tree.full(folder)}: others publish for this speaker all the time; "
        "stop them, and erase again"
    )


def _record(tree, version):
    tree.write(version.record_path, records.to_json(version))


def _mend_record(tree, pointer):
    """Writes the record of the current version again, if that repairs it."""
    current = pointer.version
    try:
        records.read_version(tree, current.record_path, current.seal)
    except OSError:
        # Which of two that differ is the right one, only its seal can say.
        is_missing = tree.kind(current.record_path) is None
        if is_missing or pointer.latest == current.seal:
            _record(tree, current)


def _check_not_erased(tree, version):
    for path in (version.blob_path, version.record_path):
        if tree.kind(path) is None:
            remove(tree, version.folder)
            raise records.UnknownSubmodelError(
                f"{version.speaker!r} was erased while version "
                f"{version.name} was published, which is erased too"
            )
