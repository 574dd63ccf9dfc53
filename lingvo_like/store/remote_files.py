"""The files of a Submodel store in a bucket."""

import contextlib
import errno
import posixpath
import secrets
import time

import tensorflow as tf

from lingvo_like import files

# Longer than any line.
_MAX_BYTES = 1 << 18


class RemoteFiles:
    """Files below anything that `tf.io.gfile` opens, such as a bucket.

    It has no locks, no links and no appending: `lock` does nothing, and each
    appended line is an object of its own.
    """

    has_locks = False

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self._lines: dict[str, bytes] = {}

    def full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def read(self, path: str, max_bytes: int) -> bytes:
        try:
            return files.read(self.full(path), max_bytes)
        except ValueError as error:
            raise OSError(errno.EFBIG, str(error)) from None

    def write(self, path: str, data: bytes) -> None:
        files.write_atomically(self.full(path), data)

    def append(self, path: str, line: bytes) -> bytes:
        folder = posixpath.splitext(path)[0]
        self.make_folder(folder)
        # The order of the names is the order in time.
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        if line:
            self.write(f"{folder}/{name}", line)
        return b""

    def lines(self, path: str) -> list[bytes]:
        folder = posixpath.splitext(path)[0]
        names = [name for name in self.list(folder) if name.endswith(".json")]
        for name in names:
            # They never change.
            if name not in self._lines:
                self._lines[name] = self.read(f"{folder}/{name}", _MAX_BYTES)
        return [self._lines[name] for name in names]

    def reserve(self, path: str, num_bytes: int) -> None:
        """Does nothing: a bucket is never full."""
        del path, num_bytes

    def list(self, path: str) -> list[str]:
        with files.naming("list", self.full(path)):
            try:
                names = tf.io.gfile.listdir(self.full(path))
            except tf.errors.NotFoundError:
                return []
        return sorted({name.rstrip("/") for name in names})

    def kind(self, path: str) -> str | None:
        with files.naming("look at", self.full(path)):
            if tf.io.gfile.isdir(self.full(path)):
                return "folder"
            return "file" if tf.io.gfile.exists(self.full(path)) else None

    def make_folder(self, path: str) -> None:
        with files.naming("make", self.full(path)):
            tf.io.gfile.makedirs(self.full(path))

    def remove(self, path: str) -> None:
        with (
            files.naming("remove", self.full(path)),
            contextlib.suppress(tf.errors.NotFoundError),
        ):
            tf.io.gfile.remove(self.full(path))

    def remove_tree(self, path: str) -> None:
        with (
            files.naming("remove", self.full(path)),
            contextlib.suppress(tf.errors.NotFoundError),
        ):
            tf.io.gfile.rmtree(self.full(path))

    def lock(
        self, path: str, shared: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        del path, shared
        return contextlib.nullcontext()
