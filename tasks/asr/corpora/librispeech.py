"""LibriSpeech (Panayotov et al., ICASSP 2015), and what is laid out like it.

<split>/<spk>/<chap>/{<spk>-<chap>-<utt>.flac,<spk>-<chap>.trans.txt}
"""

import os

from tasks.asr.corpora import common


def read(root: str | os.PathLike) -> common.Imported:
    """Imports the folder of the splits, or one such as train-clean-100.

    An utterance's `session` is the chapter.
    """
    collector = common.Collector(root)
    # The archives unpack into a folder of their own.
    inner = collector.root / "LibriSpeech"
    folder = inner if inner.is_dir() else collector.root
    for split, chapter in _chapters(folder):
        _add_chapter(collector, chapter, common.split_name(split))
    return collector.finish()


def _chapters(root):
    found = []
    for first in common.folders(root):
        # Speakers are numbers, splits are names.
        if first.name.isdecimal():
            split, speakers = root.resolve().name, [first]
        else:
            split, speakers = first.name, common.folders(first)
        found += [
            (split, chapter)
            for speaker in speakers
            for chapter in common.folders(speaker)
        ]
    return found


def _add_chapter(collector, chapter, split):
    speaker = chapter.parent.name
    recordings = {each.stem: each for each in common.audio_files(chapter)}
    path = chapter / f"{speaker}-{chapter.name}.trans.txt"
    if not path.exists():
        if recordings:
            collector.reject(path, "chapter without .trans.txt")
        return
    texts = {}
    for line in (collector.read_text(path) or "").split("\n"):
        utt_id, _, text = line.strip().partition(" ")
        if utt_id:
            texts[utt_id] = text
    for utt_id in sorted(texts.keys() | recordings.keys()):
        if utt_id not in recordings:
            collector.reject(path, "transcript without audio", "", utt_id)
        elif utt_id not in texts:
            collector.reject(
                recordings[utt_id], "audio without transcript", "", utt_id
            )
        else:
            collector.add(
                recordings[utt_id],
                texts[utt_id],
                speaker,
                utt_id,
                split=split,
                session=chapter.name,
            )
