"""A Kaldi data folder: `wav.scp text utt2spk [segments] [utt2lang]`.

Commands in wav.scp (`sox ... |`) are refused: a data set must not run programs.
"""

import math
import os

from tasks.asr.corpora import common

_FILES = ("wav.scp", "text", "utt2spk")


def read(root: str | os.PathLike, audio_root: str = "") -> common.Imported:
    """Imports a Kaldi data folder.

    Args:
        audio_root: what relative paths in wav.scp start from; by default the
            folder itself.

    Raises:
        ValueError: one of wav.scp, text and utt2spk is missing.
    """
    collector = common.Collector(root)
    for name in _FILES:
        if not (collector.root / name).is_file():
            raise ValueError(f"{root} is no Kaldi data folder: no {name}")
    texts = _table(collector, "text")
    speakers = _table(collector, "utt2spk")
    recordings = _table(collector, "wav.scp")
    languages = {}
    if (collector.root / "utt2lang").is_file():
        languages = _table(collector, "utt2lang")
    folder = os.path.abspath(audio_root or root)
    cuts = _cuts(collector, recordings)
    for utt_id, (recording, fields) in cuts.items():
        if fields is None:
            continue
        if recording not in recordings:
            reason, detail = "recording is not in wav.scp", recording
        elif fault := _fault(recordings[recording]):
            reason, detail = fault, recordings[recording]
        elif not texts.get(utt_id):
            reason, detail = "no transcript", ""
        elif not speakers.get(utt_id):
            reason, detail = "no speaker in utt2spk", ""
        else:
            path = os.path.join(folder, recordings[recording])
            text, speaker = texts[utt_id], speakers[utt_id]
            fields = {**fields, "language": languages.get(utt_id, "")}
            collector.add(path, text, speaker, utt_id, **fields)
            continue
        collector.reject(collector.root / "text", reason, detail, utt_id)
    for utt_id in texts:
        if utt_id not in cuts:
            collector.reject(
                collector.root / "text", "transcript without audio", "", utt_id
            )
    return collector.finish()


def recognises(root: str | os.PathLike) -> bool:
    """Whether the folder has the files of a Kaldi data folder."""
    return all(os.path.isfile(os.path.join(root, name)) for name in _FILES)


def _table(collector, name):
    """A dict of each line's first word to the rest of the line."""
    table = {}
    text = collector.read_text(collector.root / name) or ""
    for number, line in enumerate(text.split("\n"), start=1):
        key, *value = line.split(maxsplit=1) or [""]
        if key in table:
            collector.reject(
                collector.root / f"{name}:{number}", "key is there twice", key
            )
        elif key:
            table[key] = value[0].strip() if value else ""
    return table


def _fault(path):
    """The reason that a line of wav.scp is no audio file, or ""."""
    if path.endswith("|") or path.startswith("|"):
        return "command instead of a file in wav.scp: refused"
    if path in ("", "-"):
        return "no file name in wav.scp"
    archive, _, position = path.rpartition(":")
    if archive and position.isdecimal():
        return "archive instead of an audio file in wav.scp"
    return ""


def _cuts(collector, recordings):
    """A dict of utterance to its recording and its offset and duration.

    The second is None for lines that have been accounted for.
    """
    if not (collector.root / "segments").is_file():
        return {name: (name, {}) for name in recordings}
    cuts = {}
    for utt_id, line in _table(collector, "segments").items():
        fields, reason = None, ""
        try:
            recording, start, end = line.split()
            start, end = float(start), float(end)
        except ValueError:
            recording, reason = "", "segments: not `recording start end`"
        else:
            # Kaldi writes -1 for the end of the recording.
            duration = 0.0 if end == -1 else end - start
            fields = {"offset": start, "duration": duration}
            if not (0 <= start < math.inf) or not (
                end == -1 or 0 < duration < math.inf
            ):
                reason = "segments: ends before it starts"
        if reason:
            fields = None
            collector.reject(collector.root / "segments", reason, line, utt_id)
        cuts[utt_id] = (recording, fields)
    return cuts
