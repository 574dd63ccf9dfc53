"""Folders of recordings and manifests that a request has made."""

import json
import os
import pathlib
from collections import abc

from lingvo_like import files
from tasks.asr.data import manifest, splits


def existing(
    path: str | os.PathLike, name: str, request: abc.Mapping[str, object]
) -> dict | None:
    """Finds the result of an earlier, equal request in the folder `path`.

    Args:
        name: the JSON file in it that holds the key `request`.
        request: JSON values that fix the folder's content.

    Returns:
        the JSON file's content; None if it is not there.

    Raises:
        FileExistsError: it is that of another request.
    """
    file = files.local_path(path) / name
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


def write_manifests(
    folder: pathlib.Path,
    utterances: abc.Sequence[manifest.Utterance],
    by_split: bool,
) -> None:
    """Writes manifest.jsonl and, `by_split`, one manifest per split."""
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


def write_json(path: pathlib.Path, content: object) -> None:
    """Writes a JSON file for readers, too: indented, in the order given."""
    path.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
