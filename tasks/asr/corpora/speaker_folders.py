"""Finds the folder that names a speaker, where nothing else does."""

import os
import pathlib

from tasks.asr.corpora import common

WHICH = ("first", "last")
# Folders that are named after what is in them.
_GENERIC = frozenset(
    "audio audios clips data files media recording recordings sound sounds "
    "voice wav wavs".split()
)
NO_SPEAKER = (
    "no speaker: give each person a folder (audio, train and the like name "
    "nobody) or a column speaker, or give --speaker"
)


def speaker(
    root: str | os.PathLike, path: str | os.PathLike, which: str = ""
) -> str:
    """The folder below `root` that names the speaker of a recording.

    Folders of splits (`train`) and folders such as `audio` name nobody.

    Args:
        which: "first" below the root or "last" before the recording, where
            there are several folders between.

    Returns:
        the folder's name; "" where there is none.

    Raises:
        ValueError: several folders could be meant, or `which` is unknown.
    """
    if which and which not in WHICH:
        raise ValueError(
            f"--speaker_folder must be first or last. Received: {which!r}"
        )
    folders = _folders(root, path)
    names = [
        name
        for name in folders
        if name.lower() not in _GENERIC and not _split(name)
    ]
    if len(names) > 1 and not which:
        raise ValueError(
            f"{'/'.join(folders)}: which of these folders names the speaker? "
            f"--speaker_folder=first takes {names[0]!r}, "
            f"--speaker_folder=last {names[-1]!r}"
        )
    if not names:
        return ""
    return names[-1] if which == "last" else names[0]


def split(root: str | os.PathLike, path: str | os.PathLike) -> str:
    """The split that a folder of a recording names, "" where none does."""
    return next(filter(None, map(_split, _folders(root, path))), "")


def _folders(
    root: str | os.PathLike, path: str | os.PathLike
) -> tuple[str, ...]:
    return pathlib.Path(os.path.relpath(path, root)).parent.parts


def _split(name: str) -> str:
    # With a name beside it, Dev and Val are people.
    return common.split_name(name) if name.isalpha() else ""
