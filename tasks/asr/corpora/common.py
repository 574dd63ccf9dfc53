"""Shared by all importers: candidates, text files, labels.

An importer takes the corpus's folder and keyword options of its own. It returns
the usable utterances and names everything else that looked like data.
"""

import collections
import csv
import dataclasses
import os
import pathlib
import re
import typing
from collections import abc

from lingvo_like import text_folding
from tasks import tables as printed_tables
from tasks.asr.corpora import tables
from tasks.asr.data import (
    audio,
    inspection,
    manifest,
    manifest_fields,
    rejections,
)

AUDIO_EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm"),
    *(".aac", ".amr", ".3gp", ".wma", ".aiff", ".aif", ".gsm", ".oga"),
    *(".m4b", ".mov", ".mkv", ".mka", ".caf", ".mp2", ".weba", ".au"),
)
# What Whisper hears of an utterance.
_WHISPER_SECONDS = 30.0
# Speakers in a summary.
_MAX_SHOWN = 20
# Files that this project writes beside recordings.
_OWN = re.compile(r"\.jsonl$|(^|\.jsonl\.)(left_out\.txt|ids\.csv)$")


# What an importer returns: the usable utterances, and what is left out.
Imported = tuple[list[manifest.Utterance], rejections.Rejections]
# A speaker to the severity and the etiology.
Labels = dict[str, tuple[str, str]]


class Collector:
    """Gathers the candidates of a corpus and the account of the rest.

    Args:
        root: the corpus's folder; places in the account are relative to it.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = pathlib.Path(root)
        self._lines = manifest.Lines()

    def reject(
        self,
        path: str | os.PathLike,
        reason: str,
        detail: str = "",
        utt_id: str = "",
    ) -> None:
        """Leaves out by name something that cannot be used."""
        self._lines.left_out.add(self._place(path), utt_id, reason, detail)

    def add(
        self,
        path: str | os.PathLike,
        text: str,
        speaker: str,
        utt_id: str,
        **fields: typing.Any,
    ) -> None:
        """Adds a candidate, unless its transcript is empty.

        Args:
            **fields: further fields of `manifest.Utterance`; the duration is
                the file's unless it is given.
        """
        text, speaker = " ".join(text.split()), text_folding.fold(speaker)
        if not text:
            self.reject(path, "empty transcript", utt_id=utt_id)
            return
        if not _is_text(os.fspath(path)):
            self.reject(path, "file name is not UTF-8; rename it")
            return
        fields.setdefault("duration", 0.0)
        fields["language"] = manifest_fields.language(
            fields.get("language", "")
        )
        self._lines.places.append(self._place(path))
        self._lines.utterances.append(
            manifest.Utterance(
                os.path.abspath(path), text, speaker, utt_id, **fields
            )
        )

    def finish(self, min_seconds: float = 0.0) -> Imported:
        """Measures the recordings and drops what is unusable or shorter.

        A recording that has several texts or speakers as a whole is unusable.
        """
        said = collections.defaultdict(set)
        for each in self._lines.utterances:
            if not each.offset and not each.duration:
                text = text_folding.fold(each.text)
                said[each.audio_filepath].add((each.speaker, text))
        usable = []
        for each in inspection.measure(self._lines):
            path = each.audio_filepath
            if len(said[path]) > 1:
                reason = "one recording with several texts or speakers"
                self.reject(path, reason, repr(each.text[:40]), each.utt_id)
            elif each.duration < min_seconds:
                reason = f"shorter than {min_seconds:g} s"
                self.reject(path, reason, f"{each.duration:.3f} s", each.utt_id)
            else:
                usable.append(each)
                self._remark_if_long(each)
        return usable, self._lines.left_out

    def _remark_if_long(self, utterance: manifest.Utterance) -> None:
        if utterance.duration > _WHISPER_SECONDS:
            self._lines.left_out.remark(
                self._place(utterance.audio_filepath),
                utterance.utt_id,
                f"longer than {_WHISPER_SECONDS:g} s, the most that Whisper "
                f"takes: {audio.HOW_TO_SPLIT}",
                f"{utterance.duration:.2f} s",
            )

    def read_text(self, path: str | os.PathLike) -> str | None:
        """The text of a file, or None where it is left out by name."""
        try:
            return tables.read(path)
        except UnicodeDecodeError as error:
            self.reject(
                path,
                "text file is not UTF-8",
                f"byte {error.start}; save it as UTF-8 (in Excel: CSV UTF-8)",
            )
        except OSError as error:
            self.reject(path, "text file cannot be read", error.strerror or "")
        return None

    def _place(self, path: str | os.PathLike) -> str:
        path = os.path.abspath(path)
        root = os.path.abspath(self.root)
        inside = os.path.commonpath([root, path]) == root
        place = os.path.relpath(path, root) if inside else path
        # Names of other encodings can be shown, if not as they are.
        return os.fsencode(place).decode("utf-8", "backslashreplace")


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def folders(path: str | os.PathLike) -> list[pathlib.Path]:
    """The visible folders in a folder, in order of name; [] if it is none."""
    return [each for each in entries(path) if each.is_dir()]


def entries(path: str | os.PathLike) -> list[pathlib.Path]:
    """A folder's visible content in order of name; [] if it is no folder.

    Hidden ones are other systems' (`._0001.wav` beside `0001.wav`).
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        return []
    return sorted(
        each for each in path.iterdir() if not each.name.startswith(".")
    )


def audio_files(path: str | os.PathLike) -> list[pathlib.Path]:
    """The audio files in a folder, in order of name."""
    found = entries(path)
    return [each for each in found if each.suffix.lower() in AUDIO_EXTENSIONS]


def walk(
    root: str | os.PathLike,
) -> abc.Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """The visible folders from `root` down, each with its visible files.

    What this project wrote there itself, manifests and accounts, is no part of
    a corpus.
    """
    # A folder that may not be looked into is no empty one.
    for folder, names, files in os.walk(root, onerror=_raise, followlinks=True):
        # Caches and other tools' folders are hidden.
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".")
            and not _leads_up(root, pathlib.Path(folder) / name)
        )
        found = [
            pathlib.Path(folder) / name
            for name in sorted(files)
            if not name.startswith(".") and not _OWN.search(name)
        ]
        yield pathlib.Path(folder), found


def _leads_up(root: str | os.PathLike, path: pathlib.Path) -> bool:
    """Whether a folder is a link to one that it is in: a walk without end."""
    if not path.is_symlink():
        return False
    root, target = pathlib.Path(root), path.resolve()
    above = [each for each in path.parents if each.is_relative_to(root)]
    return any(each.resolve().is_relative_to(target) for each in above)


def _raise(error: OSError) -> None:
    raise error


def split_name(folder_name: str) -> str:
    """A folder name's meaning: "train", "dev", "test", or "" if none."""
    words = folder_name.lower().replace("_", "-").split("-")
    for split, names in {
        "train": {"train", "training"},
        "dev": {"dev", "valid", "validation", "val", "development"},
        "test": {"test", "testing", "eval"},
    }.items():
        if not names.isdisjoint(words):
            return split
    return ""


def read_labels(path: str | os.PathLike) -> Labels:
    """Reads a user's table: CSV of speaker, severity and optionally etiology.

    Raises:
        OSError: the file cannot be read.
        ValueError: a column is missing, or a speaker is there twice.
    """
    try:
        return _read_labels(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"severity table {path}: not CSV in UTF-8: {error}"
        ) from None


def _read_labels(path: str | os.PathLike) -> Labels:
    labels, text = {}, tables.read(path)
    names = tables.columns(text)
    if not {"speaker", "severity"} <= set(names):
        raise ValueError(
            f"severity table {path} needs the columns speaker, severity "
            f"and optionally etiology. Received: {', '.join(names)}"
        )
    for number, row in tables.rows(text):
        speaker = text_folding.fold(row.get("speaker", ""))
        if not speaker:
            continue
        if speaker in labels:
            raise ValueError(
                f"severity table {path}:{number}: speaker {speaker} is there "
                "twice"
            )
        labels[speaker] = (row.get("severity", ""), row.get("etiology", ""))
    return labels


def with_labels(
    utterances: abc.Iterable[manifest.Utterance], labels: Labels
) -> list[manifest.Utterance]:
    """A label wins over the corpus's own, an empty one does not."""
    labelled = []
    for each in utterances:
        severity, etiology = labels.get(each.speaker, ("", ""))
        labelled.append(
            dataclasses.replace(
                each,
                severity=severity or each.severity,
                etiology=etiology or each.etiology,
            )
        )
    return labelled


def with_language(
    utterances: abc.Iterable[manifest.Utterance], language: str
) -> list[manifest.Utterance]:
    """A language for utterances of which the corpus does not say it."""
    return [
        each if each.language else dataclasses.replace(each, language=language)
        for each in utterances
    ]


def lowercased(
    utterances: abc.Iterable[manifest.Utterance],
) -> list[manifest.Utterance]:
    """Transcripts that are all capitals become lower case."""
    return [
        dataclasses.replace(each, text=each.text.lower())
        if each.text.isupper()
        else each
        for each in utterances
    ]


def summary(utterances: list[manifest.Utterance], labels: Labels) -> str:
    """Lines about an import, for a terminal."""
    speakers = {each.speaker: each.severity for each in utterances}
    minutes = sum(each.duration for each in utterances) / 60
    lines = [
        f"{printed_tables.counted(len(utterances), 'utterance')} of "
        f"{printed_tables.counted(len(speakers), 'speaker')}, "
        f"{minutes:.1f} minutes"
    ]
    counts = collections.Counter(each.speaker for each in utterances)
    shown = [f"{name} {count}" for name, count in sorted(counts.items())]
    shown = printed_tables.shortened(shown, _MAX_SHOWN)
    lines.append(f"Speakers: {', '.join(shown)}")
    for title, values in {
        "Splits": (each.split or "none" for each in utterances),
        "Speakers by severity": (
            severity or "no label" for severity in speakers.values()
        ),
        "Languages": (each.language or "not named" for each in utterances),
    }.items():
        counts = sorted(collections.Counter(values).items())
        listed = ", ".join(f"{name} {count}" for name, count in counts)
        lines.append(f"{title}: {listed}")
    strangers = sorted(labels.keys() - speakers.keys())
    if strangers:
        listed = ", ".join(strangers)
        lines.append(f"In the severity table and not in the manifest: {listed}")
    return "\n".join(lines) + "\n"
