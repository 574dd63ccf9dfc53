"""Whole files, read and written: a file appears complete or not at all.

Paths may be local or anything that `tf.io.gfile` opens (`gs://`). Errors are
OSErrors that name the path, wherever it lies.
"""

import contextlib
import errno
import os
import secrets
import stat

import tensorflow as tf

# Names that a listing of results skips: leftovers of a killed process.
TEMPORARY_PREFIX = ".writing-"

_ERRNO = {
    tf.errors.NotFoundError: errno.ENOENT,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.UnauthenticatedError: errno.EACCES,
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.AlreadyExistsError: errno.EEXIST,
}


def exists(path):
    """Whether there is a file or a folder.

    Raises:
        OSError: names the path, and why that cannot be told.
    """
    path = os.fspath(path)
    with _naming("look for", path):
        return tf.io.gfile.exists(path)


def try_writing(folder):
    """Writes a file to a folder, and removes it: shows that one can.

    Raises:
        OSError: names the file and the reason.
    """
    # Named like a leftover, should it become one.
    name = f"{TEMPORARY_PREFIX}probe-{secrets.token_hex(8)}"
    probe = os.path.join(os.fspath(folder), name)
    write_atomically(probe, b"probe")
    with _naming("remove", probe):
        tf.io.gfile.remove(probe)


def write_atomically(path, data):
    """Writes a file so that nobody ever sees a part of it.

    The bytes go to a temporary file in the same folder, which then takes the
    path's place. When anything fails, the old file stays as it was.

    Args:
        path: string or PathLike; its folder must exist.
        data: bytes.

    Raises:
        OSError: names the path and the reason (no folder, no permission, no
            space left, not a regular file).
    """
    path = os.fspath(path)
    with _naming("write", path):
        if _is_local(path):
            _write_local(path, data)
        else:
            _write_remote(path, data)


def write_folder(path, contents):
    """Makes a folder of files, which appears complete or not at all.

    Args:
        path: string or PathLike; nothing may be there but an empty folder.
        contents: dict of file name to bytes.

    Raises:
        FileExistsError: something is there.
        OSError: names the path and the reason.
    """
    path = os.fspath(path).rstrip("/")
    with _naming("write", path):
        if tf.io.gfile.exists(path):
            if not tf.io.gfile.isdir(path) or tf.io.gfile.listdir(path):
                raise FileExistsError(
                    errno.EEXIST,
                    "it is not empty; name another folder, or remove it first",
                )
            tf.io.gfile.rmtree(path)
        parent = os.path.dirname(path)
        if parent:
            tf.io.gfile.makedirs(parent)
        unfinished = _temporary_beside(path)
        try:
            tf.io.gfile.makedirs(unfinished)
            for name, data in contents.items():
                write_atomically(os.path.join(unfinished, name), data)
            tf.io.gfile.rename(unfinished, path)
        except BaseException:
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.rmtree(unfinished)
            raise


def read(path, max_bytes=None):
    """The bytes of a file.

    Args:
        path: string or PathLike.
        max_bytes: int; a longer file is refused unread.

    Raises:
        OSError: names the path and the reason.
        ValueError: the file is longer than `max_bytes`.
    """
    path = os.fspath(path)
    with _naming("read", path):
        info = tf.io.gfile.stat(path)
        if info.is_directory:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_local(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if max_bytes is not None and info.length > max_bytes:
            raise ValueError(
                f"{path}: must have at most {max_bytes} bytes. "
                f"Received: {info.length}."
            )
        # TensorFlow's copies what it reads: a second for a small base model.
        if _is_local(path):
            with open(path, "rb") as file:
                return file.read()
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()


def _is_local(path):
    return "://" not in path


def _write_local(path, data):
    # Through a link the file that it points to is replaced, not the link.
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a regular file")
    folder = os.path.dirname(path)
    temporary = _temporary_beside(path)
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
    _sync_folder(folder)


def _sync_folder(folder):
    # The file is whole already; some file systems cannot sync folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_remote(path, data):
    # Renamed even on object stores: their writers upload what they have got
    # when they are closed, after a failed write too.
    temporary = _temporary_beside(path)
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(data)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise


def _temporary_beside(path):
    # Not made of the file's own name, which may be as long as names get.
    folder = os.path.dirname(path)
    return os.path.join(folder, TEMPORARY_PREFIX + secrets.token_hex(8))


@contextlib.contextmanager
def _naming(verb, path):
    """Turns whatever a file system raises into an OSError on `path`."""
    try:
        yield
    except OSError as error:
        code, reason = error.errno or errno.EIO, error.strerror or str(error)
        # Of a file in the folder that is named now.
        reason = reason.removeprefix(f"cannot {verb}: ")
    except tf.errors.OpError as error:
        code, reason = _ERRNO.get(type(error), errno.EIO), error.message
        if code == errno.ENOENT:
            reason = os.strerror(code)  # TensorFlow's repeats the path
    else:
        return
    raise OSError(code, f"cannot {verb}: {reason}", path)
