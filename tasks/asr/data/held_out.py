"""Holds out dev speech where nobody has named any.

A speaker's own utterances, by phrase: which ones is a function of the seed and
of that speaker's texts and recordings alone, whoever else is in the manifest
and in whatever order.
"""

import collections
import dataclasses
from collections import abc

from lingvo_like.submodel import heard as heard_lib
from tasks import tables
from tasks.asr.data import manifest, preparation, splits

# Utterances that are held out at least, and that must be left to learn from.
FEWEST = 2
MIN_LEFT = 8
# A phrase that was recorded often would take more than the share.
_MOST = 2


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """A corpus whose dev speech was held out.

    Attributes:
        numbers: speaker to the utterances that were held out.
        without: speakers who have too few to hold any out.
    """

    corpus: preparation.Corpus
    numbers: dict[str, int]
    without: tuple[str, ...]

    def describe(self) -> str:
        """One line on what was held out, and of whom nothing was."""
        parts = []
        if self.numbers:
            fewest, most = (
                min(self.numbers.values()),
                max(self.numbers.values()),
            )
            each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            parts.append(
                f"{sum(self.numbers.values())} utterances of "
                f"{tables.counted(len(self.numbers), 'speaker')} are held out "
                f"as dev speech, {each} of each (--dev=none holds out none)"
            )
        if self.without:
            parts.append(
                "nothing to spare for dev speech, so all steps are trained "
                f"and the last is kept: {tables.first_names(self.without)}"
            )
        return "; ".join(parts)


def hold_out(
    corpus: preparation.Corpus,
    share: float,
    seed: int,
    heard: abc.Callable[[str], abc.Set[str]] = lambda speaker: frozenset(),
) -> HeldOut:
    """Moves a share of each speaker's utterances from `train` to `dev`.

    Args:
        corpus: without dev speech.
        share: of the utterances.
        heard: function of a speaker to `heard.keys` of recordings that what
            the speaker starts from has learned from: they are not held out.
    """
    train, dev, without = {}, {}, []
    for slot, data in corpus.train.items():
        chosen = choose(
            data.utterances, data.speaker, share, seed, heard(data.speaker)
        )
        parts = [
            tuple(u for u in data.utterances if (u.utt_id in chosen) == is_dev)
            for is_dev in (False, True)
        ]
        train[slot] = dataclasses.replace(data, utterances=parts[0])
        if chosen:
            dev[slot] = dataclasses.replace(data, utterances=parts[1])
        else:
            without.append(data.speaker)
    return HeldOut(
        dataclasses.replace(corpus, train=train, dev=dev),
        {data.speaker: len(data.utterances) for data in dev.values()},
        tuple(without),
    )


def choose(
    utterances: abc.Sequence[manifest.Utterance],
    speaker: str,
    share: float,
    seed: int,
    heard: abc.Set[str] = frozenset(),
) -> frozenset[str]:
    """The ids of a speaker's utterances to hold out; none if they are few.

    All recordings of a phrase go together: who has learned one knows the
    others.
    """
    wanted = max(FEWEST, round(share * len(utterances)))
    most = min(_MOST * wanted, len(utterances) - MIN_LEFT)
    phrases = collections.defaultdict(list)
    for each in utterances:
        phrases[splits.phrase_key(each.text)].append(each)
    free = [
        key
        for key, recordings in phrases.items()
        if not heard_lib.keys(u.sha256 for u in recordings) & heard
    ]
    chosen: list[str] = []
    for key in splits.ranked(free, f"{seed}\0dev\0{speaker}"):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(phrases[key]) <= most:
            chosen += [each.utt_id for each in phrases[key]]
    return frozenset(chosen) if len(chosen) >= FEWEST else frozenset()
