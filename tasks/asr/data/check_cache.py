"""Results of checking recordings, kept beside a run for its next start.

`checked.jsonl` has one JSON array a line: an utterance as its manifest gives it
and how it was checked, the size and the time of its file, and what was found. A
recording whose file has changed is checked again. The first line is the
SHA-256 of the others; where it is not, all recordings are checked again.
"""

import dataclasses
import hashlib
import json
import os
import typing

from lingvo_like import files
from tasks.asr.data import manifest, rejections, tfrecord

NAME = "checked.jsonl"
# Of what was found in a recording.
_NUM_FIELDS = 6

Result: typing.TypeAlias = manifest.Utterance | rejections.UnusableError


class KeptChecks:
    """The results in one folder.

    Args:
        folder: a path or an address; None keeps nothing.
        max_seconds, trim_silence: how recordings are checked now. Results
            under other values are not found.
    """

    def __init__(
        self, folder: str | None, max_seconds: float, trim_silence: bool
    ) -> None:
        self._path = folder and os.path.join(folder, NAME)
        self._how = (max_seconds, trim_silence)
        self._files: dict[str, list[int] | None] = {}
        self._kept = _read(self._path) if self._path else {}
        self._is_new = False

    def find(self, utterance: manifest.Utterance) -> Result | None:
        """The result for the recording as it is now; None if unknown."""
        file, found = self._kept.get(self._key(utterance), (None, None))
        if found is None or file != self._file(utterance):
            return None
        offset, duration, reason, detail, whole, sha256 = found
        if reason:
            return rejections.UnusableError(reason, detail)
        return dataclasses.replace(
            utterance,
            offset=offset,
            duration=duration,
            recording_seconds=whole,
            sha256=sha256,
        )

    def add(self, utterance: manifest.Utterance, result: Result) -> None:
        if not self._path:
            return
        file = self._file(utterance)
        # A file that is missing has no size and time to recognise it by.
        if file is None:
            return
        if isinstance(result, rejections.UnusableError):
            found = [0.0, 0.0, result.reason, result.described, 0.0, ""]
        else:
            whole = result.recording_seconds
            span = [result.offset, result.duration]
            found = [*span, "", "", whole, result.sha256]
        self._kept[self._key(utterance)] = (file, found)
        self._is_new = True

    def save(self) -> None:
        """Writes the results if any is new."""
        if self._path and self._is_new:
            text = "".join(
                json.dumps([key, *found], ensure_ascii=False) + "\n"
                for key, found in self._kept.items()
            )
            data = text.encode()
            files.write_atomically(self._path, _seal(data) + b"\n" + data)

    def _key(self, utterance: manifest.Utterance) -> tuple:
        place = (utterance.audio_filepath, utterance.offset, utterance.duration)
        return place + self._how

    def _file(self, utterance: manifest.Utterance) -> list[int] | None:
        """The size and the time of a recording's file, looked up once."""
        path = utterance.audio_filepath
        if record := tfrecord.parse(path):
            path = record[0]
        if path not in self._files:
            found = files.size_and_time(path)
            self._files[path] = found and list(found)
        return self._files[path]


def _read(path: str) -> dict[tuple, tuple[list, list]]:
    kept = {}
    # A damaged file costs another check, nothing else.
    try:
        seal, _, data = files.read(path).partition(b"\n")
        for line in data.splitlines() if seal == _seal(data) else ():
            key, file, found = json.loads(line)
            # Lines of another version of this module say less.
            if len(found) == _NUM_FIELDS:
                kept[tuple(key)] = (file, found)
    except OSError:
        return {}
    return kept


def _seal(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
