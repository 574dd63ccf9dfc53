"""The files of a Submodel store in a local folder."""

import contextlib
import errno
import fcntl
import os
import posixpath
import shutil
import stat
import time
from collections import abc

from lingvo_like import files

LOCK_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.005
MAX_LINES_BYTES = 1 << 40
# Longer than any line: a file's last one lies within.
_TAIL_BYTES = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


class LocalFiles:
    """Files below a local folder.

    No link below the root is followed. Reading and removing open paths name by
    name, so not even a link that appears meanwhile is followed. Locks are
    `flock`s, which end with the process that holds them, however it ends.
    """

    has_locks = True

    def __init__(self, root: str):
        self.root = os.path.abspath(root)

    def full(self, path: str) -> str:
        return os.path.join(self.root, path) if path else self.root

    def read(self, path: str, max_bytes: int) -> bytes:
        # Without O_NONBLOCK, opening a pipe would block.
        with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if info.st_size > max_bytes:
                raise OSError(
                    errno.EFBIG, f"{info.st_size} bytes, at most {max_bytes}"
                )
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()

    def write(self, path: str, data: bytes) -> None:
        """Writes a file whole or not at all, into a folder that exists."""
        if self.kind(path) not in (None, "file"):
            raise OSError(errno.EINVAL, "not a regular file", self.full(path))
        files.write_atomically(self.full(path), data)

    def append(self, path: str, line: bytes) -> bytes:
        """Appends a line whole or not at all, beside other writers.

        A half-written line at the end, which a killed writer left, is cut.

        Args:
            line: with its line break; empty to cut only.

        Returns:
            what was cut.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with (
            self._opened(path, flags) as descriptor,
            _locked(descriptor, fcntl.LOCK_EX),
        ):
            torn = _torn_line(descriptor)
            size = os.fstat(descriptor).st_size - len(torn)
            if torn:
                os.ftruncate(descriptor, size)
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        return torn

    def lines(self, path: str) -> list[bytes]:
        """The lines that were appended, without those half-written."""
        try:
            return self.read(path, MAX_LINES_BYTES).split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def reserve(self, path: str, num_bytes: int) -> None:
        """Takes room on the disk by a file, which gives it back when removed.

        A writer that is killed here leaves a shorter file, which the next one
        makes longer.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with self._opened(path, flags) as descriptor:
            missing = num_bytes - os.fstat(descriptor).st_size
            # Not zeros: some file systems keep no room for those.
            while missing > 0:
                missing -= os.write(descriptor, os.urandom(missing))

    def list(self, path: str) -> list[str]:
        """Sorted names in a folder; none if there is no folder."""
        try:
            with self._opened(path, _FOLDER) as folder:
                return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def kind(self, path: str) -> str | None:
        """The kind of a path: "file", "folder", "link", "other" or None."""
        try:
            with self._parent(path) as (folder, name):
                mode = os.lstat(name, dir_fd=folder).st_mode
        except FileNotFoundError:
            return None
        return _KINDS.get(stat.S_IFMT(mode), "other")

    def make_folder(self, path: str) -> None:
        """Makes a folder and those above it, and syncs the new ones."""
        if not path:
            return os.makedirs(self.root, exist_ok=True)
        parent = posixpath.dirname(path)
        if parent and self.kind(parent) is None:
            self.make_folder(parent)
        with self._parent(path) as (folder, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
                os.fsync(folder)

    def remove(self, path: str) -> None:
        """Removes a file, if it is there."""
        with self._parent(path) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)

    def remove_tree(self, path: str) -> None:
        """Removes a folder, if it is there, and everything in it."""
        with self._parent(path) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(name, dir_fd=folder)
                os.fsync(folder)

    @contextlib.contextmanager
    def lock(self, path: str, shared: bool = False) -> abc.Iterator[None]:
        """Holds a lock file, and makes it if it is missing.

        Others who share it may hold it at the same time.

        Raises:
            TimeoutError: others hold it for `LOCK_SECONDS`.
        """
        flags, kind = os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX
        if shared:
            kind = fcntl.LOCK_SH
            # Without the permission to write, reading is still possible.
            if self.kind(path) == "file":
                flags = os.O_RDONLY
        with contextlib.ExitStack() as stack:
            # What fails while the lock is held names its own file.
            with self._naming(path):
                descriptor = self._open(path, flags)
                stack.callback(os.close, descriptor)
                stack.enter_context(_locked(descriptor, kind))
            yield

    @contextlib.contextmanager
    def _parent(self, path):
        """A descriptor of the path's folder, and the last name of the path."""
        parent, name = posixpath.split(path)
        with self._naming(path), self._opened(parent, _FOLDER) as folder:
            yield folder, name

    @contextlib.contextmanager
    def _opened(self, path, flags):
        """A descriptor of a file or folder; errors in the body name it."""
        with self._naming(path):
            descriptor = self._open(path, flags)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def _open(self, path, flags):
        """Opens a path without following links."""
        names = path.split("/") if path else []
        # The root itself may be a link: it is the operator's own.
        descriptor = os.open(self.root, _FOLDER if names else flags)
        for index, name in enumerate(names, start=1):
            step = flags if index == len(names) else _FOLDER
            try:
                inner = os.open(
                    name, step | os.O_NOFOLLOW, 0o666, dir_fd=descriptor
                )
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    @contextlib.contextmanager
    def _naming(self, path):
        """Makes OSErrors name the whole path, not a part of it."""
        try:
            yield
        except OSError as error:
            if error.filename == self.full(path):
                raise
            reason = error.strerror or str(error)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                reason = "a link, or a file in a folder's place"
            code = error.errno or errno.EIO
            raise OSError(code, reason, self.full(path)) from None


def _torn_line(descriptor):
    """The bytes after the last line break of an open file."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    return tail.rpartition(b"\n")[2]


@contextlib.contextmanager
def _locked(descriptor, kind):
    """Holds an flock on a descriptor; raises a TimeoutError if others do."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"another writer holds the lock for {LOCK_SECONDS:g} s; "
                    "see who it is, and try again",
                ) from None
        time.sleep(_LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        # Closing is not enough if a forked child has it open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
