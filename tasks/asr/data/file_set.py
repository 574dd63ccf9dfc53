"""Files that belong together and are replaced together."""

import contextlib
import os


def write(texts):
    """Writes UTF-8 files that only make sense side by side.

    All of them lie on the disk, under names that nobody reads, before the
    first takes its place: a full disk leaves every old file as it was, and no
    old one stands beside a new one.

    Args:
        texts: mapping of path to text; missing folders are made.

    Raises:
        OSError: names the path and the reason.
    """
    # Loads TensorFlow, which takes seconds; --help and a wrong flag need not.
    from lingvo_like import files

    waiting = {}
    try:
        for path, text in texts.items():
            folder, name = os.path.split(os.path.abspath(path))
            os.makedirs(folder, exist_ok=True)
            if os.path.isdir(path):
                raise IsADirectoryError(f"cannot write {path}: it is a folder")
            temporary = os.path.join(
                folder, f"{files.TEMPORARY_PREFIX}{os.getpid()}-{name}"
            )
            files.write_atomically(temporary, text.encode("utf-8"))
            waiting[temporary] = path
        for temporary in list(waiting):
            os.replace(temporary, waiting[temporary])
            del waiting[temporary]
    finally:
        for temporary in waiting:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
