"""A text file beside each recording, and a folder for each person.

[<split>/][<speaker>/]{<name>.wav,<name>.txt}   or .m4a, .ogg and others

A text file has what was said: <name>.txt or <name>.wav.txt.
"""

import os
import pathlib
import unicodedata
from collections import abc

from tasks.asr.corpora import common, speaker_folders

_TEXTS = (".txt", ".lab")


def read(
    root: str | os.PathLike, speaker: str = "", speaker_folder: str = ""
) -> common.Imported:
    """Imports every recording with a text file of the same name.

    Args:
        root: the folder of the speakers' folders.
        speaker: who speaks, where no folder says it.
        speaker_folder: which folder names the speaker where several lie in one
            another: first or last.

    Raises:
        ValueError: it is not clear which folder names the speaker.
    """
    collector = common.Collector(root)
    for folder, recordings, texts in _folders(collector.root):
        used = set()
        for recording in recordings:
            text = _text_of(recording, texts)
            if text is None:
                if recording.suffix.lower() in common.AUDIO_EXTENSIONS:
                    collector.reject(recording, "recording without a text file")
                else:
                    collector.reject(recording, "neither recording nor text")
                continue
            used.add(text)
            _add(collector, recording, text, speaker, speaker_folder)
        for text in sorted(set(texts.values()) - used):
            collector.reject(folder / text, "text file without a recording")
    return collector.finish()


def recognises(root: str | os.PathLike) -> bool:
    """Whether a recording in the folder has a text file beside it."""
    return any(
        recording.suffix.lower() in common.AUDIO_EXTENSIONS
        and _text_of(recording, texts) is not None
        for _, recordings, texts in _folders(pathlib.Path(root))
        for recording in recordings
    )


def _folders(
    root: pathlib.Path,
) -> abc.Iterator[
    tuple[pathlib.Path, list[pathlib.Path], dict[str, pathlib.Path]]
]:
    """Folders, what may be recordings in them, and the texts by name."""
    for folder, files in common.walk(root):
        recordings, texts = [], {}
        for path in files:
            name = _name(path.name.removesuffix(path.suffix))
            if path.suffix.lower() in _TEXTS and name not in texts:
                texts[name] = path
            else:
                recordings.append(path)
        yield folder, recordings, texts


def _text_of(
    recording: pathlib.Path, texts: abc.Mapping[str, pathlib.Path]
) -> pathlib.Path | None:
    return texts.get(_name(recording.stem)) or texts.get(_name(recording.name))


def _name(name: str) -> str:
    """Macs part letters and accents, others do not."""
    return unicodedata.normalize("NFC", name)


def _add(collector, recording, text_file, speaker, speaker_folder):
    text = collector.read_text(text_file)
    if text is None:
        return
    root = collector.root
    owner = speaker or speaker_folders.speaker(root, recording, speaker_folder)
    inside = recording.relative_to(root)
    utt_id = str(inside.with_suffix(""))
    if not owner:
        collector.reject(recording, speaker_folders.NO_SPEAKER, utt_id=utt_id)
        return
    split = speaker_folders.split(root, recording)
    collector.add(recording, text, owner, utt_id, split=split)
