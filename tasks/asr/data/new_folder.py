"""Folders of audio and manifests that appear complete or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

from tasks.asr.data import manifest, splits


def existing(path, name, request):
    """What an earlier, equal request has left at `path`.

    Args:
        path: the folder.
        name: the JSON file in it that holds the key `request`.
        request: dictionary of JSON values that fixes the folder's content.

    Returns:
        the JSON file's content; None if it is not there.

    Raises:
        FileExistsError: it is that of another request.
    """
    file = local_path(path) / name
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        before = dict(content["request"])
    except (ValueError, KeyError, TypeError):
        raise FileExistsError(
            f"{file} is damaged; name another output folder or remove that one"
        ) from None
    different = [
        f"{key} is {before.get(key)!r} there and {request.get(key)!r} here"
        for key in sorted(request.keys() | before.keys())
        if request.get(key) != before.get(key)
    ]
    if different:
        raise FileExistsError(
            f"{path} was made by another request: {', '.join(different)}; "
            "name another output folder or remove that one"
        )
    return content


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
            "output folder or remove that one"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = pathlib.Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)
        )
    except OSError as error:
        raise OSError(
            f"cannot write the folder {target}: {error.strerror}; name an "
            "output folder in a place where you may write"
        ) from error
    try:
        # mkdtemp keeps others out; an output folder is an ordinary one.
        partial.chmod(0o777 & ~_umask())
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def local_path(path):
    """`path` as a `pathlib.Path`; a ValueError for addresses of buckets."""
    if "://" in str(path):
        raise ValueError(
            f"the output folder must be a local one. Received: {path}; write "
            "it here and copy it there"
        )
    return pathlib.Path(path)


def write_manifests(folder, utterances, by_split):
    """Writes manifest.jsonl and, if wanted, one manifest per split.

    Args:
        folder: `pathlib.Path`.
        utterances: `manifest.Utterance` values.
        by_split: also write train.jsonl, dev.jsonl and test.jsonl.
    """
    parts = {"manifest.jsonl": utterances}
    if by_split:
        for split in splits.SPLITS:
            parts[f"{split}.jsonl"] = [
                each for each in utterances if each.split == split
            ]
    for name, part in parts.items():
        (folder / name).write_text(
            manifest.dumps(part, folder), encoding="utf-8"
        )


def write_json(path, content):
    """Writes a JSON file for readers, too: indented, in the order given."""
    path.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
