"""UASpeech (Kim et al., Interspeech 2008).

    audio/{original,normalized,noisereduce*}/[control/]<SPK>/
        <SPK>_B{1,2,3}_{WORD}_M{2..8}.wav
    mlf/<SPK>/<SPK>_word.mlf

Words: D0-D9 digits, LA-LZ letters, C1-C19 commands, CW1-CW100 common words,
and UW1-UW100 uncommon words, which alone differ from block to block. As usual,
blocks 1 and 3 train and block 2 tests (ffxiong/uaspeech,
s5/local/prepare_uaspeech_data.sh), so only the UW words of the test are new.
"""

import os
import re
from collections import abc

from tasks.asr.corpora import common

MICS = tuple(f"M{number}" for number in range(1, 9))

_SPEAKER = re.compile(r"C?[FM]\d\d")
_NAME = re.compile(
    r"(?P<speaker>C?[FM]\d\d)_B(?P<block>[123])_"
    r"(?P<word>D\d|L[A-Z]|C\d{1,2}|CW\d{1,3}|UW\d{1,3})_(?P<mic>M\d)"
)


def read(
    root: str | os.PathLike, mic: str = "", audio_version: str = "original"
) -> common.Imported:
    """Imports UASpeech.

    `etiology` is "control" for the controls, `session` is the block.

    Args:
        root: the folder of `audio` and `mlf`.
        mic: "M5", or several as "M3,M5"; by default all.
        audio_version: "original", "normalized" or "noisereduce", or how a
            folder in `audio` begins.

    """
    mics = {name.strip().upper() for name in mic.split(",") if name.strip()}
    odd = sorted(mics.difference(MICS))
    if odd:
        raise ValueError(
            f"--mic must be among {', '.join(MICS)}. Received: {', '.join(odd)}"
        )
    mics = mics or set(MICS)
    collector = common.Collector(root)
    for folder in _speakers(_version(collector.root, audio_version)):
        _add_speaker(collector, folder, mics)
    return collector.finish()


def _version(root, audio_version):
    audio = root / "audio"
    names = [each.name for each in common.folders(audio)]
    if any(_SPEAKER.fullmatch(name) or name == "control" for name in names):
        return audio
    found = [name for name in names if name.startswith(audio_version)]
    if len(found) != 1:
        raise ValueError(
            f"{audio} must hold one folder that begins with {audio_version!r} "
            f"(--audio_version). It holds: {', '.join(names) or 'nothing'}"
        )
    return audio / found[0]


def _speakers(folder):
    found = common.folders(folder) + common.folders(folder / "control")
    return [each for each in found if _SPEAKER.fullmatch(each.name)]


def _add_speaker(collector, folder, mics):
    speaker = folder.name
    words = _words(collector, speaker)
    recordings = {}
    for path in common.audio_files(folder):
        name = _NAME.fullmatch(path.stem)
        if not name or name["speaker"] != speaker:
            collector.reject(path, "file name is not SPK_BLOCK_WORD_MIC")
        elif name["mic"] in mics:
            recordings[path.stem] = (path, name)
    for stem, (path, name) in recordings.items():
        text = words.get(stem) or words.get(stem.rpartition("_")[0])
        if text is None:
            collector.reject(path, "no label in the MLF", "", stem)
            continue
        collector.add(
            path,
            text,
            speaker,
            stem,
            split="test" if name["block"] == "2" else "train",
            session=f"B{name['block']}",
            mic=name["mic"],
            etiology="control" if speaker[0] == "C" else "",
        )
    for stem in words:
        name = _NAME.fullmatch(stem)
        if name and stem not in recordings and name["mic"] in mics:
            collector.reject(folder / f"{stem}.wav", "label without audio")


def _words(collector, speaker):
    """Words by utterance and, for missing labels of a mic, by its word."""
    path = collector.root / "mlf" / speaker / f"{speaker}_word.mlf"
    if not path.exists():
        collector.reject(path, "no MLF of the speaker", speaker)
        return {}
    words, stem, said = {}, None, []
    for line in (collector.read_text(path) or "").split("\n"):
        line = line.strip()
        if line.startswith('"'):
            stem, said = line.strip('"').rpartition("/")[2], []
            stem = stem.rpartition(".")[0] or stem
        elif line == "." and stem:
            words[stem] = " ".join(said)
            words.setdefault(stem.rpartition("_")[0], words[stem])
            stem = None
        elif line and stem and not line.startswith("#!MLF!#"):
            said.append(_label(line.split()))
    return words


def _label(columns: abc.Sequence[str]) -> str:
    # HTK: [start [end]] label [score], times in units of 100 ns.
    while len(columns) > 1 and columns[0].isdecimal():
        columns = columns[1:]
    return columns[0]
