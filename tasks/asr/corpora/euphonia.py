"""The Project Euphonia app's recordings (google/project-euphonia-app).

    [<speaker>/][data/]<index>/{phrase.txt,recording.wav}

The app keeps one person's recordings; several people's lie in one folder each.
"""

import os
import pathlib

from tasks.asr.corpora import common


def read(root: str | os.PathLike, speaker: str = "") -> common.Imported:
    """Imports the app's uploads.

    Args:
        root: the folder above `data`, `data` itself, or a folder of several
            people's folders.
        speaker: name of the speaker; by default the folder's name. Not for
            several people's folders, which name their speakers themselves.

    Raises:
        ValueError: `speaker` is given for a folder of several people.
    """
    collector = common.Collector(root)
    found = _phrases_folder(collector.root)
    if found:
        name = collector.root.resolve().name
        if name == "data":
            name = collector.root.resolve().parent.name
        _add_speaker(collector, found, speaker or name)
        return collector.finish()
    for folder in common.folders(root):
        found = _phrases_folder(folder)
        if not found:
            collector.reject(folder, "folder without numbered phrases")
            continue
        if speaker:
            raise ValueError(
                f"--speaker={speaker} names one speaker, but {root} holds a "
                f"folder for each of several, such as {folder.name}"
            )
        _add_speaker(collector, found, folder.name)
    return collector.finish()


def _phrases_folder(folder: pathlib.Path) -> pathlib.Path | None:
    for candidate in (folder / "data", folder):
        if any(_is_phrase(each) for each in common.folders(candidate)):
            return candidate
    return None


def _is_phrase(folder: pathlib.Path) -> bool:
    return folder.name.isdecimal() and any(
        (folder / name).exists() for name in ("phrase.txt", "recording.wav")
    )


def _add_speaker(
    collector: common.Collector, folder: pathlib.Path, speaker: str
) -> None:
    phrases = []
    for each in common.folders(folder):
        if each.name.isdecimal():
            phrases.append(each)
        else:
            collector.reject(each, "folder's name is not a phrase's index")
    for each in sorted(phrases, key=lambda folder: int(folder.name)):
        recording, phrase = each / "recording.wav", each / "phrase.txt"
        if not phrase.exists():
            collector.reject(each, "no phrase.txt", utt_id=each.name)
        elif not recording.exists():
            collector.reject(each, "no recording.wav", utt_id=each.name)
        else:
            text = collector.read_text(phrase)
            if text is not None:
                collector.add(recording, text, speaker, each.name)
