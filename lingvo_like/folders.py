"""Folders that appear complete or not at all.

Paths and errors are those of `files`.
"""

import contextlib
import os
import pathlib
from collections import abc

from lingvo_like import files, held_folders


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> abc.Iterator[pathlib.Path]:
    """Fills a local folder, which appears complete or not at all.

    Yields:
        the folder to fill, under another name. It is removed after an error.
        One that a killed process left beside it is removed first.

    Raises:
        FileExistsError: something but an empty folder is there.
        ValueError: the path is not a local one.
    """
    with _new_folder(str(files.local_path(path).absolute())) as folder:
        yield pathlib.Path(folder)


def write_folder(
    path: str | os.PathLike, contents: abc.Mapping[str, bytes]
) -> None:
    """Writes files by name to a folder that appears complete or not at all.

    Raises:
        FileExistsError: something but an empty folder is there.
    """
    path = os.fspath(path).rstrip("/")
    with _new_folder(path) as folder, files.naming("write", path):
        for name, data in contents.items():
            files.write_atomically(os.path.join(folder, name), data)


@contextlib.contextmanager
def _new_folder(path: str) -> abc.Iterator[str]:
    system, unfinished = files.file_system(path), files.temporary_beside(path)
    is_there = system.exists(path)
    if is_there and (not system.isdir(path) or system.listdir(path)):
        raise FileExistsError(
            f"{path} exists and is not an empty folder; name another output "
            "folder or remove that one"
        )
    with contextlib.ExitStack() as stack:
        try:
            with files.naming("write", path):
                if files.is_local(path):
                    tidy = tidy_after_failure(os.path.dirname(path) or ".")
                    stack.enter_context(tidy)
                    held = held_folders.made(unfinished, files.TEMPORARY_PREFIX)
                    stack.enter_context(held)
                else:
                    system.makedirs(unfinished)
        except OSError as error:
            reason = (error.strerror or "").partition(": ")[2]
            raise OSError(
                error.errno,
                f"cannot write the folder: {reason}; "
                "name an output folder in a place where you may write",
                path,
            ) from None
        try:
            yield unfinished
            with files.naming("write", path):
                if is_there:
                    system.rmtree(path)
                system.rename(unfinished, path)
        except BaseException:
            with (
                contextlib.suppress(OSError),
                files.naming("remove", unfinished),
            ):
                system.rmtree(unfinished)
            raise


@contextlib.contextmanager
def tidy_after_failure(*folders: str | os.PathLike) -> abc.Iterator[None]:
    """Removes new local folders that are still empty when something fails.

    Args:
        folders: that may be made within; their parents may be, too.
    """
    missing = {
        path
        for folder in folders
        if files.is_local(os.fspath(folder))
        for path in held_folders.missing(os.fspath(folder))
    }
    try:
        yield
    except BaseException:
        for path in sorted(missing, key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
