"""Folders of audio and manifests that appear complete or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def create(path):
    """Makes a folder under another name and renames it when all went well.

    Args:
        path: the folder to be; absent or empty.

    Yields:
        `pathlib.Path` of the folder to fill. It is removed after an error.

    Raises:
        FileExistsError: there is something at `path`.
        OSError: nothing can be written beside it.
    """
    target = local_path(path).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(
            f"{target} exists and is not an empty folder; name another "
            "output folder or remove that one."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = pathlib.Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)
        )
    except OSError as error:
        raise OSError(
            f"cannot write the folder {target}: {error.strerror}; name an "
            "output folder in a place where you may write."
        ) from error
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def local_path(path):
    """`path` as a `pathlib.Path`; a ValueError for addresses of buckets."""
    if not str(path):
        raise ValueError("--output_dir is missing; name a folder to write.")
    if "://" in str(path):
        raise ValueError(
            f"the output folder must be a local one. Received: {path}; write "
            "it here and copy it there."
        )
    return pathlib.Path(path)


def write_manifests(folder, lines, by_split):
    """Writes manifest.jsonl and, if wanted, one manifest per split.

    Args:
        folder: `pathlib.Path`.
        lines: list of dictionaries with a key `split`.
        by_split: also write train.jsonl, dev.jsonl and test.jsonl.
    """
    parts = {"manifest.jsonl": lines}
    if by_split:
        for split in ("train", "dev", "test"):
            parts[f"{split}.jsonl"] = [
                line for line in lines if line["split"] == split
            ]
    for name, part in parts.items():
        text = "".join(
            json.dumps(line, ensure_ascii=False) + "\n" for line in part
        )
        (folder / name).write_text(text, encoding="utf-8")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
