"""Hugging Face audiofolder: audio beside `metadata.csv` or `metadata.jsonl`.

[<split>/]{metadata.csv,metadata.jsonl}   file_name, transcription or text
"""

import csv
import io
import json
import os
import pathlib

from tasks.asr.corpora import common

_TABLES = ("metadata.csv", "metadata.jsonl")
_COLUMNS = {
    "text": ("transcription", "text", "sentence", "transcript"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "utt_id": ("utt_id", "id"),
    "session": ("session",),
    "mic": ("mic",),
    "severity": ("severity",),
    "etiology": ("etiology",),
}


def read(root: str | os.PathLike, speaker: str = "") -> common.Imported:
    """Imports every metadata table below a folder.

    A split is what the table's folder is called.

    Args:
        root: the folder that `load_dataset("audiofolder", data_dir=...)` takes.
        speaker: the speaker of lines that name none.

    Raises:
        ValueError: there is no table, or two in one folder, or it lacks a
            column.
    """
    collector = common.Collector(root)
    tables = list(_tables(collector.root))
    if not tables:
        raise ValueError(f"{root} holds no metadata.csv or metadata.jsonl")
    used = set()
    for table in tables:
        text = collector.read_text(table)
        if text is None:
            continue
        parse = _csv_rows if table.suffix == ".csv" else _json_rows
        for place, row in parse(collector, table, text):
            used.add(_add(collector, table.parent, place, row, speaker))
    for folder, _ in _walk(root):
        for path in common.audio_files(folder):
            if os.path.abspath(path) not in used:
                collector.reject(path, "audio that no metadata line names")
    return collector.finish()


def _tables(root):
    for folder, files in _walk(root):
        found = [name for name in _TABLES if name in files]
        if len(found) > 1:
            raise ValueError(
                f"{folder} holds both {' and '.join(found)}; keep one"
            )
        if found:
            yield pathlib.Path(folder) / found[0]


def _walk(root):
    for folder, names, files in os.walk(root):
        # Caches and other tools' folders are hidden.
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield folder, files


def _csv_rows(collector, table, text):
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        _check_columns(table, reader.fieldnames or ())
        for row in reader:
            yield f"{table}:{reader.line_num}", row
    except csv.Error as error:
        raise ValueError(f"{table}:{reader.line_num}: {error}") from None


def _json_rows(collector, table, text):
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{table}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            collector.reject(place, "metadata line is not JSON", str(error))
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            collector.reject(place, "metadata line is not a JSON object")


def _check_columns(table, names):
    if "file_name" not in names:
        raise ValueError(
            f"{table} needs a column file_name. Received: {', '.join(names)}"
        )
    if not any(name in names for name in _COLUMNS["text"]):
        raise ValueError(
            f"{table} needs a column of {', '.join(_COLUMNS['text'])}. "
            f"Received: {', '.join(names)}"
        )


def _add(collector, folder, place, row, speaker):
    """Adds a row's utterance. Returns the audio's absolute path, or None."""
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip():
        collector.reject(place, "metadata line without file_name")
        return None
    name = name.strip().replace("\\", "/")
    path = os.path.abspath(folder / name)
    root = os.path.abspath(collector.root)
    if os.path.commonpath([root, path]) != root:
        collector.reject(place, "file_name leads out of the folder", name)
        return None
    fields = {key: _field(row, key) for key in _COLUMNS}
    text, owner = fields.pop("text"), fields.pop("speaker") or speaker
    # Two splits may use one file name.
    inside = os.path.relpath(path, root)
    utt_id = fields.pop("utt_id") or os.path.splitext(inside)[0]
    if text is None:
        collector.reject(place, "metadata line without text", utt_id=utt_id)
    elif not owner:
        collector.reject(
            place,
            "no speaker: add a column speaker, or give --speaker",
            utt_id=utt_id,
        )
    else:
        parts = inside.split(os.sep)[:-1]
        split = next(filter(None, map(common.split_name, parts)), "")
        fields = {key: value or "" for key, value in fields.items()}
        collector.add(path, text, owner, utt_id, split=split, **fields)
    return path


def _field(row, key):
    for name in _COLUMNS[key]:
        value = row.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value).strip()
    return None
