"""Packages of the Debian archive, unpacked without being installed."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections import abc

_DOWNLOAD_SECONDS = 900


@contextlib.contextmanager
def unpacked(
    names: abc.Collection[str], packages_dir: str | os.PathLike | None = None
) -> abc.Iterator[pathlib.Path]:
    """Yields a temporary folder with the content of packages.

    Args:
        names: each package's content is in the folder of its name.
        packages_dir: folder with their .deb files; downloaded if None.

    Raises:
        ValueError: a system tool is missing.
        OSError: a package cannot be had, or is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="recordings-") as scratch:
        scratch = pathlib.Path(scratch)
        packages = pathlib.Path(packages_dir or scratch)
        if packages_dir is None:
            _run(
                ["apt-get", "download", *names],
                scratch,
                names,
                "check the network, or run `apt-get update` as root first",
            )
        root = scratch / "root"
        root.mkdir()
        for name in names:
            archive = str(only(packages, f"{name}_*.deb").absolute())
            _run(
                ["dpkg-deb", "-x", archive, str(root / name)],
                scratch,
                names,
                "the package is damaged; fetch it again",
            )
        yield root


def only(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    """The one path below `folder` that ends with the pattern."""
    found = sorted(folder.rglob(pattern)) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"there is no {pattern} in {folder}, and it is needed"
        )
    return found[-1]


def _run(
    command: list[str],
    folder: str | os.PathLike,
    names: abc.Iterable[str],
    remedy: str,
) -> None:
    tool = command[0]
    if shutil.which(tool) is None:
        raise ValueError(
            f"fetching the recordings needs {tool}, of Debian and Ubuntu. On "
            f"another system download {', '.join(names)} from "
            "https://packages.debian.org, install dpkg and name their folder "
            "with --packages_dir"
        )
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(
            f"{' '.join(command)} took over {_DOWNLOAD_SECONDS} s; {remedy}"
        ) from None
    if done.returncode:
        lines = done.stderr.splitlines()
        errors = [e for e in lines if e.startswith(("E:", "dpkg-deb: error"))]
        why = " ".join(errors or lines[-1:])
        raise OSError(f"`{' '.join(command)}` failed: {why}; {remedy}")
