"""Local folders that nobody takes for a leftover while their maker lives."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections import abc


def missing(folder: str) -> list[str]:
    """The folders to be made so that there is this one, itself first."""
    found, folder = [], os.path.abspath(folder)
    while not os.path.lexists(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


@contextlib.contextmanager
def made(path: str, prefix: str) -> abc.Iterator[None]:
    """Makes a folder, and those above it, that this process holds.

    It stays, or goes, as the caller leaves it.

    Args:
        prefix: of the names of such folders. Those beside it that no living
            process holds are removed.

    Raises:
        OSError: it cannot be made.
    """
    parent = os.path.dirname(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    _remove_leftovers(parent, prefix)
    descriptor = _make(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _make(path: str) -> int:
    """Makes a folder; returns a descriptor that holds it until it is closed."""
    # Under its own name it is never without its maker's lock.
    name = f".making-{secrets.token_hex(8)}"
    unheld = os.path.join(os.path.dirname(path), name)
    os.mkdir(unheld)
    descriptor = os.open(unheld, os.O_RDONLY)
    # Some network file systems lock no folders; there, leftovers stay.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(unheld, path)
    return descriptor


def _remove_leftovers(parent: str, prefix: str) -> None:
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not name.startswith(prefix) or not os.path.isdir(path):
            continue
        # Its maker lives, or another process is removing it.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)
