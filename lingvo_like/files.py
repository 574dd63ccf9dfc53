"""Files that appear complete or not at all.

Paths may be local or anything that `tf.io.gfile` opens (`gs://`). Errors are
OSErrors that name the path, wherever it lies. TensorFlow is loaded for paths
that are not local: it takes seconds, and a wrong flag need not wait for it.
"""

import contextlib
import errno
import functools
import os
import pathlib
import secrets
import shutil
import stat
import sys
import typing
from collections import abc

from lingvo_like import held_folders

# Names that a listing of results skips: leftovers of a killed process.
TEMPORARY_PREFIX = ".writing-"


def _exists(path: str) -> bool:
    # os.path.exists also says no where it may not look.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)
        return True
    return False


class _Local:
    """`tf.io.gfile` for local paths, as far as it is used here."""

    exists = staticmethod(_exists)
    isdir = staticmethod(os.path.isdir)
    listdir = staticmethod(os.listdir)
    makedirs = staticmethod(functools.partial(os.makedirs, exist_ok=True))
    remove = staticmethod(os.remove)
    rmtree = staticmethod(shutil.rmtree)
    rename = staticmethod(os.replace)


def is_local(path: str) -> bool:
    """Whether a path is none of the addresses that `tf.io.gfile` opens."""
    return "://" not in path


def absolute(path: str) -> str:
    """The absolute form of a local path; an address stays as it is."""
    return os.path.abspath(path) if is_local(path) else path


def exists(path: str | os.PathLike) -> bool:
    """Whether there is a file or a folder; an OSError if that is not clear."""
    path = os.fspath(path)
    with naming("look for", path):
        return file_system(path).exists(path)


def size_and_time(path: str | os.PathLike) -> tuple[int, int] | None:
    """A file's bytes and time of change in ns; None if it cannot be seen."""
    path = os.fspath(path)
    with contextlib.suppress(OSError), naming("look at", path):
        if is_local(path):
            info = os.stat(path)
            return info.st_size, info.st_mtime_ns
        info = file_system(path).stat(path)
        return info.length, info.mtime_nsec
    return None


def local_path(path: str | os.PathLike) -> pathlib.Path:
    """The path of an output folder, which must be a local one.

    Raises:
        ValueError: it is the address of a bucket.
    """
    if not is_local(os.fspath(path)):
        raise ValueError(
            f"the output folder must be a local one. Received: {path}; write "
            "it here and copy it there"
        )
    return pathlib.Path(path)


def try_writing(folder: str | os.PathLike) -> None:
    """Writes a file to a folder and removes it, to show that one can.

    Where there is no such folder, the one that it would be made in is tried: a
    command that fails later leaves nothing behind.
    """
    folder = _nearest(os.fspath(folder))
    # Named like a leftover, should it become one.
    name = f"{TEMPORARY_PREFIX}probe-{secrets.token_hex(8)}"
    probe = os.path.join(folder, name)
    write_atomically(probe, b"probe")
    with naming("remove", probe):
        file_system(probe).remove(probe)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file so that nobody ever sees a part of it.

    The bytes go to a temporary file in the same folder, which must exist, and
    that file then takes the path's place. When anything fails, the old file
    stays as it was.
    """
    path = os.fspath(path)
    with naming("write", path):
        if is_local(path):
            _write_local(path, data)
        else:
            _write_remote(path, data)


def write_together(texts: abc.Mapping[str, str]) -> None:
    """Writes local UTF-8 files that only make sense side by side.

    All of them lie on the disk, under names that nobody reads, before the
    first takes its place: a full disk leaves every old file as it was, and no
    old one stands beside a new one.

    Args:
        texts: path to text; missing folders are made.
    """
    waiting = {}
    try:
        for path, text in texts.items():
            folder = os.path.dirname(os.path.abspath(path))
            os.makedirs(folder, exist_ok=True)
            if os.path.isdir(path):
                raise IsADirectoryError(f"cannot write {path}: it is a folder")
            temporary = temporary_beside(os.path.abspath(path))
            # Errors name the file that was meant.
            with naming("write", path):
                write_atomically(temporary, text.encode("utf-8"))
            waiting[temporary] = path
        for temporary in list(waiting):
            os.replace(temporary, waiting[temporary])
            del waiting[temporary]
    finally:
        for temporary in waiting:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _nearest(folder: str) -> str:
    """The folder, or where it is absent and local the one it would lie in."""
    if not is_local(folder):
        return folder
    missing = held_folders.missing(folder)
    return os.path.dirname(missing[-1]) if missing else folder


def read(path: str | os.PathLike, max_bytes: int | None = None) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: the file is longer than `max_bytes`; it was not read.
    """
    path = os.fspath(path)
    with naming("read", path):
        if is_local(path):
            info = os.stat(path)
            is_folder = stat.S_ISDIR(info.st_mode)
            num_bytes, opener = info.st_size, open
            if not is_folder and not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
        else:
            system = file_system(path)
            info = system.stat(path)
            is_folder = info.is_directory
            num_bytes, opener = info.length, system.GFile
        if is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if max_bytes is not None and num_bytes > max_bytes:
            raise ValueError(
                f"{path}: must have at most {max_bytes} bytes. "
                f"Received: {num_bytes}."
            )
        with opener(path, "rb") as file:
            return file.read()


def file_system(path: str) -> typing.Any:
    """`tf.io.gfile`, or as much of it as is used here, for local paths."""
    if is_local(path):
        return _Local
    import tensorflow as tf

    return tf.io.gfile


def _write_local(path: str, data: bytes) -> None:
    # Through a link the file that it points to is replaced, not the link.
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a regular file")
    temporary = temporary_beside(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            # Else a power cut may leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    _sync_folder(os.path.dirname(path))


def _sync_folder(folder: str) -> None:
    # The file is whole already; some file systems cannot sync folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_remote(path: str, data: bytes) -> None:
    # Renamed even on object stores: their writers upload what they have got
    # when they are closed, after a failed write too.
    system, temporary = file_system(path), temporary_beside(path)
    try:
        with system.GFile(temporary, "wb") as file:
            file.write(data)
        system.rename(temporary, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(OSError), naming("remove", temporary):
            system.remove(temporary)
        raise


def temporary_beside(path: str) -> str:
    """A new name in the folder of a path, which listings skip."""
    # Not made of the file's own name, which may be as long as names get.
    folder = os.path.dirname(path)
    return os.path.join(folder, TEMPORARY_PREFIX + secrets.token_hex(8))


@contextlib.contextmanager
def naming(verb: str, path: str) -> abc.Iterator[None]:
    """Turns whatever a file system raises into an OSError on `path`."""
    try:
        yield
    except OSError as error:
        code, reason = error.errno or errno.EIO, error.strerror or str(error)
        # The error may have named a file of this folder already.
        reason = reason.removeprefix(f"cannot {verb}: ")
    except Exception as error:
        code = _tensorflow_code(error)
        if code is None:
            raise
        reason = getattr(error, "message", "")
        if code == errno.ENOENT:
            reason = os.strerror(code)  # TensorFlow's repeats the path
    else:
        return
    raise OSError(code, f"cannot {verb}: {reason}", path)


def _tensorflow_code(error: Exception) -> int | None:
    """The errno of a TensorFlow error; None for any other."""
    # Without TensorFlow in memory, this is none of its errors.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    return {
        "NotFoundError": errno.ENOENT,
        "PermissionDeniedError": errno.EACCES,
        "UnauthenticatedError": errno.EACCES,
        "ResourceExhaustedError": errno.ENOSPC,
        "AlreadyExistsError": errno.EEXIST,
    }.get(type(error).__name__, errno.EIO)
