"""Sorts out recordings of a voice whose text cannot be theirs.

Nobody has listened to them all. A text that could not be said in the time of
its recording, or that took far too long, is another's.
"""

import collections
import dataclasses
from collections import abc

import numpy as np

from tasks.asr.data import manifest, rejections, splits

# Of the voice's own median pace, in letters a second.
_FASTEST = 1.8
_SLOWEST = 1 / 3
# A quick sentence of somebody whose texts are short, and so slow at the median;
# and what nobody says.
_SENTENCE, _NOBODY = 17.0, 22.0
# A short word has pauses around it.
_PAUSES_SECONDS = 1.0
# The pace of fewer utterances is nobody's.
_ENOUGH = 10


@dataclasses.dataclass(frozen=True)
class Pair:
    """A recording and its text.

    Attributes:
        place: where it was found.
        utterance: with the recording as it was written.
        digest: SHA-256 of the recording as it was found.
    """

    place: str
    utterance: manifest.Utterance
    digest: str

    @property
    def letters(self) -> int:
        """The number of letters and digits of the text."""
        return sum(map(str.isalnum, self.utterance.text))


def usable(
    found: abc.Sequence[Pair], left_out: rejections.Rejections
) -> list[Pair]:
    """The pairs of one voice that can be used, the others left out by name."""
    return _at_a_pace(_once(found, left_out), left_out)


def _once(
    found: abc.Iterable[Pair], left_out: rejections.Rejections
) -> list[Pair]:
    """Each recording once, and none that has several texts."""
    same = collections.defaultdict(list)
    for pair in found:
        same[pair.digest].append(pair)
    once = []
    for group in same.values():
        texts = {splits.phrase_key(each.utterance.text) for each in group}
        if len(texts) > 1:
            for each in group:
                _reject(each, "one recording with several texts", left_out)
            continue
        once.append(group[0])
        for each in group[1:]:
            left_out.add(
                each.place,
                each.utterance.utt_id,
                "the recording of another once more",
                group[0].utterance.utt_id,
            )
    return once


def _at_a_pace(
    found: abc.Sequence[Pair], left_out: rejections.Rejections
) -> list[Pair]:
    """Those that are neither much too short nor much too long."""
    if len(found) < _ENOUGH:
        return list(found)
    pace = float(
        np.median([each.letters / each.utterance.duration for each in found])
    )
    fastest = min(max(_FASTEST * pace, _SENTENCE), _NOBODY)
    good = []
    for each in found:
        seconds = each.utterance.duration
        if each.letters > fastest * seconds:
            _reject(each, "too short for its text", left_out)
        elif each.letters < _SLOWEST * pace * (seconds - _PAUSES_SECONDS):
            _reject(each, "too long for its text", left_out)
        else:
            good.append(each)
    return good


def _reject(pair: Pair, reason: str, left_out: rejections.Rejections) -> None:
    said = pair.utterance
    detail = f"{said.duration:.2f} s: {said.text!r}"
    left_out.add(pair.place, said.utt_id, reason, detail)
