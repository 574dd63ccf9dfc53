"""The file system below a Submodel store: a local folder, or a bucket.

Both take paths relative to the store's root, with `/` between names, and raise
OSErrors that name the file. A missing file is a FileNotFoundError.
"""

import contextlib
import errno
import fcntl
import os
import posixpath
import secrets
import shutil
import stat
import time

import tensorflow as tf

from lingvo_like import files

LOCK_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.005


def open_root(root):
    """`LocalFiles` or `RemoteFiles` for a path, by whether it is a URL."""
    root = os.fspath(root)
    if not root:
        raise ValueError("the store's folder is empty; name one")
    return (RemoteFiles if "://" in root else LocalFiles)(root)


class LocalFiles:
    """Files below a local folder.

    No link below the root is followed: paths are opened name by name, so that
    reading and removing follow not even one that appears meanwhile. Locks are
    `flock`s, which end with the process that holds them, however it ends.
    """

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.locks = True

    def full(self, path):
        return os.path.join(self.root, path) if path else self.root

    def read(self, path, max_bytes):
        """The bytes of a regular file."""
        # A pipe in a file's place would block an ordinary open.
        flags = os.O_RDONLY | os.O_NONBLOCK
        with self._naming(path), self._opened(path, flags) as descriptor:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if info.st_size > max_bytes:
                raise OSError(
                    errno.EFBIG, f"{info.st_size} bytes, at most {max_bytes}"
                )
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()

    def write(self, path, data):
        """Writes a file whole or not at all, in a folder that is there."""
        if self.kind(path) not in (None, "file"):
            raise OSError(errno.EINVAL, "not a regular file", self.full(path))
        files.write_atomically(self.full(path), data)

    def append(self, path, line):
        """Appends a line: whole, and beside other writers' own."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with self._naming(path), self._opened(path, flags) as descriptor:
            with _locked(descriptor, fcntl.LOCK_EX):
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line
                try:
                    if os.write(descriptor, line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise

    def list(self, path):
        """Sorted names in a folder; none where there is no folder."""
        try:
            with self._folder(path) as folder:
                return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def kind(self, path):
        """What is there: "file", "folder", "link", "other" or None."""
        parent, name = posixpath.split(path)
        try:
            with self._folder(parent) as folder:
                mode = os.lstat(name, dir_fd=folder).st_mode
        except FileNotFoundError:
            return None
        for name, is_kind in (
            ("file", stat.S_ISREG),
            ("folder", stat.S_ISDIR),
            ("link", stat.S_ISLNK),
        ):
            if is_kind(mode):
                return name
        return "other"

    def make_root(self):
        os.makedirs(self.root, exist_ok=True)

    def make_folder(self, path):
        """Makes a folder and those above it, and syncs what is new."""
        parent, name = posixpath.split(path)
        if parent and self.kind(parent) is None:
            self.make_folder(parent)
        with self._naming(path), self._folder(parent) as folder:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
                os.fsync(folder)

    def remove(self, path):
        """Removes a file; one that is not there is no error."""
        parent, name = posixpath.split(path)
        with self._naming(path), self._folder(parent) as folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)

    def remove_tree(self, path):
        """Removes a folder and all that is in it, links as links."""
        parent, name = posixpath.split(path)
        with self._naming(path), self._folder(parent) as folder:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(name, dir_fd=folder)
                os.fsync(folder)

    @contextlib.contextmanager
    def lock(self, path, shared=False):
        """Holds a lock file, which is made if it is not there.

        Args:
            path: str; its folder must be there.
            shared: bool, beside other such holders, to look at things at rest.

        Raises:
            TimeoutError: others hold it for `LOCK_SECONDS`.
        """
        flags = os.O_RDWR | os.O_CREAT
        # Who may not write may still look.
        if shared and self.kind(path) == "file":
            flags = os.O_RDONLY
        with self._opened(path, flags) as descriptor:
            with contextlib.ExitStack() as context:
                with self._naming(path):
                    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                    context.enter_context(_locked(descriptor, kind))
                yield

    def _folder(self, path):
        return self._opened(path, os.O_RDONLY | os.O_DIRECTORY)

    @contextlib.contextmanager
    def _opened(self, path, flags):
        """A descriptor of a file or folder, reached without links."""
        with self._naming(path):
            descriptor = self._open(path, flags | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, path, flags):
        step = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        # The root itself may be a link: it is the operator's own.
        descriptor = os.open(self.root, step if path else flags)
        names = path.split("/") if path else []
        for index, name in enumerate(names, start=1):
            mode = flags if index == len(names) else step
            try:
                inner = os.open(
                    name, mode | os.O_NOFOLLOW, 0o666, dir_fd=descriptor
                )
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    @contextlib.contextmanager
    def _naming(self, path):
        """Lets OSErrors name the whole path, not a part of it."""
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


@contextlib.contextmanager
def _locked(descriptor, kind):
    _lock(descriptor, kind)
    try:
        yield
    finally:
        # Closing is not enough where a forked child has it open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lock(descriptor, kind):
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"another writer holds the lock for {LOCK_SECONDS:g} s; "
                    "see who it is, and try again",
                ) from None
        time.sleep(_LOCK_POLL_SECONDS)


class RemoteFiles:
    """Files below anything that `tf.io.gfile` opens.

    It has neither locks nor links nor appending: `lock` does nothing, and each
    appended line is an object of its own.
    """

    def __init__(self, root):
        self.root = root.rstrip("/")
        self.locks = False

    def full(self, path):
        return f"{self.root}/{path}" if path else self.root

    def read(self, path, max_bytes):
        try:
            return files.read(self.full(path), max_bytes)
        except ValueError as error:
            raise OSError(errno.EFBIG, str(error)) from None

    def write(self, path, data):
        files.write_atomically(self.full(path), data)

    def append(self, path, line):
        folder = posixpath.splitext(path)[0]
        self.make_folder(folder)
        # Sorted by name they are in the order of time.
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        self.write(f"{folder}/{name}", line)

    def list(self, path):
        with self._naming(path):
            try:
                names = tf.io.gfile.listdir(self.full(path))
            except tf.errors.NotFoundError:
                return []
        return sorted({name.rstrip("/") for name in names})

    def kind(self, path):
        with self._naming(path):
            if tf.io.gfile.isdir(self.full(path)):
                return "folder"
            return "file" if tf.io.gfile.exists(self.full(path)) else None

    def make_root(self):
        self.make_folder("")

    def make_folder(self, path):
        with self._naming(path):
            tf.io.gfile.makedirs(self.full(path))

    def remove(self, path):
        with self._naming(path):
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(self.full(path))

    def remove_tree(self, path):
        with self._naming(path):
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.rmtree(self.full(path))

    def lock(self, path, shared=False):
        del path, shared
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _naming(self, path):
        try:
            yield
        except tf.errors.PermissionDeniedError as error:
            raise PermissionError(
                errno.EACCES, error.message, self.full(path)
            ) from None
        except tf.errors.OpError as error:
            raise OSError(errno.EIO, error.message, self.full(path)) from None
