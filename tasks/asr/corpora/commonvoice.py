"""Mozilla Common Voice, one language.

clips/<name>.mp3 {validated,train,dev,test}.tsv
The tables have client_id, path and sentence, and locale for the language.
"""

import os
import pathlib

from tasks.asr.corpora import common, tables

_SPLITS = ("train", "dev", "test")
# Nobody, or too few, have listened to these.
_UNUSED = ("other", "invalidated")
_COLUMNS = ("client_id", "path", "sentence")


def read(root: str | os.PathLike) -> common.Imported:
    """Imports what listeners have validated.

    The corpus splits by speaker, so a speaker is in one split alone:
    `tasks.split_manifest --existing_splits=ignore` splits by phrase.

    Args:
        root: the folder of a language, such as cv-corpus-17.0-2024-03-15/en.

    Raises:
        ValueError: there is no validated.tsv or train.tsv, or it lacks a
            column.
    """
    collector = common.Collector(root)
    if not recognises(root):
        raise ValueError(
            f"{root} is no folder of Common Voice: it needs clips and "
            "validated.tsv or train.tsv"
        )
    seen = set()
    for name in (*_SPLITS, "validated"):
        for place, row in _rows(collector, name):
            if row["path"] not in seen:
                seen.add(row["path"])
                split = name if name in _SPLITS else ""
                _add(collector, place, row, split)
    for name in _UNUSED:
        rows = [row for _, row in _rows(collector, name)]
        seen.update(row["path"] for row in rows)
        if rows:
            collector.reject(
                collector.root / f"{name}.tsv",
                "not validated",
                f"{len(rows)} clips",
            )
    for path in common.entries(collector.root / "clips"):
        if path.name not in seen:
            collector.reject(path, "file that no row names")
    return collector.finish()


def recognises(root: str | os.PathLike) -> bool:
    """Whether the folder has clips and a table of them."""
    root = pathlib.Path(root)
    return (root / "clips").is_dir() and any(
        (root / f"{name}.tsv").is_file() for name in ("validated", "train")
    )


def _rows(collector, name):
    path = collector.root / f"{name}.tsv"
    if not path.is_file():
        return
    text = collector.read_text(path) or ""
    missing = set(_COLUMNS) - set(tables.columns(text))
    if missing:
        raise ValueError(
            f"{path} needs the columns {', '.join(_COLUMNS)}. Missing: "
            f"{', '.join(sorted(missing))}"
        )
    # Quotation marks are a part of the sentences.
    for number, row in tables.rows(text, has_quotes=False):
        place = f"{path}:{number}"
        if all(row.get(column) for column in _COLUMNS):
            yield place, row
        else:
            collector.reject(place, "row without client_id, path or sentence")


def _add(collector, place, row, split):
    name = row["path"]
    if os.path.basename(name) != name:
        collector.reject(place, "path leads out of clips", name)
        return
    path = collector.root / "clips" / name
    if not path.exists() and not path.suffix:
        path = path.with_suffix(".mp3")
    collector.add(
        path,
        row["sentence"],
        row["client_id"],
        path.stem,
        split=split,
        language=row.get("locale") or "",
    )
