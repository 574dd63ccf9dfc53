"""Recordings and a table of their texts, such as Hugging Face's audiofolder.

[<split>/][<speaker>/]{metadata.csv,metadata.jsonl,<any>.csv,<any>.tsv}

The table has a column file_name (or file, path, audio), a column transcription
(or text, sentence, transcript, phrase), and maybe speaker and split; without
them the folders of a recording are. Other columns that are read: severity,
etiology, session, mic, language. Commas, semicolons or tabs part them.
"""

import collections
import csv
import itertools
import os
import pathlib
import unicodedata
from collections import abc

from tasks.asr.corpora import common, speaker_folders, tables
from tasks.asr.data import manifest_fields, rejections

_COLUMNS = {
    "file_name": (
        *("file_name", "filename", "file", "audio_filepath", "audio", "path"),
        *("audio_file", "recording", "wav"),
    ),
    "text": (
        *("transcription", "text", "sentence", "transcript", "phrase", "words"),
        "prompt",
    ),
    "speaker": (
        *("speaker", "speaker_id", "speaker_name", "client_id", "participant"),
        *("participant_id", "person", "user_id"),
    ),
    "split": ("split",),
    "utt_id": ("utt_id", "id"),
    "session": ("session",),
    "mic": ("mic",),
    "severity": ("severity",),
    "etiology": ("etiology",),
    "language": ("language", "locale", "lang"),
}
_NEEDED = ("file_name", "text")
_TABLES = (".csv", ".tsv")
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_SAVE_AS_CSV = "is a spreadsheet; save it as CSV (UTF-8)"


def read(
    root: str | os.PathLike, speaker: str = "", speaker_folder: str = ""
) -> common.Imported:
    """Imports every table below a folder.

    A name without a folder or an extension is found if one recording below the
    table has it.

    Args:
        root: the folder that `load_dataset("audiofolder", data_dir=...)` takes.
        speaker: the speaker of rows that name none.
        speaker_folder: which folder names the speaker where several lie in one
            another: first or last.

    Raises:
        ValueError: there is no table, or metadata is there twice in one folder,
            or it lacks a column, or it is not clear who speaks.
    """
    collector = common.Collector(root)
    found = list(_tables(collector.root))
    if not found:
        raise ValueError(
            f"{root} holds no metadata.csv or metadata.jsonl, and no other CSV "
            f"with the columns file_name and text{unfit(root)}"
        )
    used: set[str | None] = set(map(os.path.abspath, found))
    for table in found:
        text = collector.read_text(table)
        if text is None:
            continue
        parse = _json_rows if table.suffix == ".jsonl" else _csv_rows
        names = _Names(table.parent)
        for place, row in parse(collector, table, text):
            used.add(
                _add(collector, names, place, row, speaker, speaker_folder)
            )
    for _, files in common.walk(root):
        for path in files:
            if os.path.abspath(path) not in used:
                is_table = path.suffix.lower() in _SPREADSHEETS
                collector.reject(
                    path,
                    "file that no row names",
                    _SAVE_AS_CSV if is_table else "",
                )
    return collector.finish()


def recognises(root: str | os.PathLike) -> bool:
    """Whether a table of recordings is in the folder."""
    try:
        return any(_tables(pathlib.Path(root)))
    except ValueError:
        return True


def unfit(root: str | os.PathLike) -> str:
    """The fault of the first file that may be meant as a table, or ""."""
    for _, files in common.walk(root):
        for path in files:
            if path.suffix.lower() in (*_TABLES, *_SPREADSHEETS):
                if fault := _fault(path):
                    return f": {path} {fault}"
    return ""


def _tables(root):
    """Yields the tables below a folder, one after the other as it walks."""
    for folder, files in common.walk(root):
        # A manifest is no metadata, so its extension alone says nothing.
        metadata = [
            each
            for each in (folder / "metadata.csv", folder / "metadata.tsv")
            if each in files
        ]
        lines = folder / "metadata.jsonl"
        if lines.is_file():
            metadata.append(lines)
        if len(metadata) > 1:
            names = " and ".join(each.name for each in metadata)
            raise ValueError(f"{folder} holds both {names}; keep one")
        yield from metadata or (
            each
            for each in files
            if each.suffix.lower() in _TABLES and not _fault(each)
        )


def _fault(path):
    """The reason that a file is no table of recordings and texts, or ""."""
    if path.suffix.lower() in _SPREADSHEETS:
        return _SAVE_AS_CSV
    try:
        names = tables.columns(tables.read(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return f"cannot be read as CSV in UTF-8: {error}"
    if _missing(names) is None:
        return ""
    return f"must name them in its first line, which is {', '.join(names)!r}"


def _csv_rows(collector, table, text):
    number = 1
    try:
        _check_columns(table, tables.columns(text))
        for number, row in tables.rows(text):
            place = f"{table}:{number}"
            if tables.FAULT in row:
                collector.reject(place, row[tables.FAULT])
            else:
                yield place, row
    except csv.Error as error:
        raise ValueError(f"{table}:{number}: {error}") from None


def _json_rows(collector, table, text):
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{table}:{number}"
        if not line.strip():
            continue
        try:
            row = manifest_fields.loads(line)
        except (ValueError, RecursionError) as error:
            collector.reject(place, "metadata line is not JSON", str(error))
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            collector.reject(place, "metadata line is not a JSON object")


def _check_columns(table, names):
    for name in set(itertools.chain(*_COLUMNS.values())):
        if names.count(name) > 1:
            raise ValueError(f"{table} has two columns called {name}")
    if missing := _missing(names):
        raise ValueError(
            f"{table} needs a column of {', '.join(_COLUMNS[missing])}. "
            f"Received: {', '.join(names)}"
        )


def _missing(names):
    """The first column that a table needs and lacks, or None."""
    for key in _NEEDED:
        if not set(_COLUMNS[key]).intersection(names):
            return key
    return None


class _Names:
    """The recordings below a table's folder, by what a row calls them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str) -> list[str]:
        """Absolute paths that may be meant; one that is not there for none."""
        path = os.path.abspath(self._folder / name)
        if os.path.exists(path):
            return [path]
        if self._by_name is None:
            self._by_name = collections.defaultdict(list)
            for _, files in common.walk(self._folder):
                for each in files:
                    if each.suffix.lower() in common.AUDIO_EXTENSIONS:
                        for called in self._called(each):
                            self._by_name[called].append(os.path.abspath(each))
        return self._by_name.get(_plain(name), [path])

    def _called(self, path: pathlib.Path) -> abc.Iterable[str]:
        inside = path.relative_to(self._folder)
        without = inside.with_suffix("")
        names = (path.name, path.stem, inside.as_posix(), without.as_posix())
        return set(map(_plain, names))


def _plain(name: str) -> str:
    """Macs part letters and accents, and Windows does not mind case."""
    return unicodedata.normalize("NFC", name).casefold()


def _add(collector, names, place, row, speaker, speaker_folder):
    """Adds a row's utterance. Returns the audio's absolute path, or None."""
    try:
        fields = {key: _field(row, key) for key in _COLUMNS}
    except rejections.UnusableError as error:
        collector.reject(place, error.reason, error.detail)
        return None
    name = fields.pop("file_name")
    if not name:
        collector.reject(place, "metadata line without file_name")
        return None
    name = name.replace("\\", "/")
    root = os.path.abspath(collector.root)
    path, *others = names.find(name)
    if os.path.commonpath([root, path]) != root:
        collector.reject(place, "file_name leads out of the folder", name)
        return None
    if not os.path.exists(path):
        collector.reject(place, "audio file is missing", name)
        return None
    text = fields.pop("text")
    # Two splits may use one file name.
    inside = os.path.relpath(path, root)
    utt_id = fields.pop("utt_id") or os.path.splitext(inside)[0]
    owner = fields.pop("speaker")
    if owner == "" and not speaker:
        collector.reject(place, "row without a speaker", utt_id=utt_id)
        return path
    owner = owner or speaker
    if text is None:
        collector.reject(place, "metadata line without text", utt_id=utt_id)
        return path
    if others:
        collector.reject(
            place, "several recordings have this name", name, utt_id=utt_id
        )
        return path
    owner = owner or speaker_folders.speaker(root, path, speaker_folder)
    if not owner:
        collector.reject(place, speaker_folders.NO_SPEAKER, utt_id=utt_id)
        return path
    split = common.split_name(fields.pop("split") or "")
    split = split or speaker_folders.split(root, path)
    fields = {key: value or "" for key, value in fields.items()}
    collector.add(path, text, owner, utt_id, split=split, **fields)
    return path


def _field(row, key):
    """A row's value; None where it has no such column."""
    found = [name for name in _COLUMNS[key] if name in row]
    return manifest_fields.label(row, found[0]) if found else None
