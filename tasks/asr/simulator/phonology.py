"""Phonological processes on espeak-ng phonemes, and the homophones they make.

The processes are those by which speech disorders are described clinically
and have been simulated before (Strombergsson et al. 2021; Soleymanpour et
al., arXiv 2201.11571). A phoneme is a string of espeak-ng's ASCII notation,
with stress marks in front: `'aI`, `tS`, `@`.
"""

import typing
from collections import abc

from tasks.asr.evaluation import scoring

SUBSTITUTIONS = {
    "gliding": {"r": "w", "l": "w"},
    "fronting": {"k": "t", "g": "d", "N": "n"},
    "stopping": {
        "s": "t",
        "z": "d",
        "f": "p",
        "v": "b",
        "S": "t",
        "T": "t",
        "D": "d",
        "tS": "t",
        "dZ": "d",
    },
    "devoicing": {"b": "p", "d": "t", "g": "k", "z": "s", "v": "f"},
    "backing": {"t": "k", "d": "g"},
}
PROCESSES = (
    *SUBSTITUTIONS,
    "cluster_reduction",
    "final_deletion",
    "centralise",
)

# A word to its phonemes.
Lexicon = dict[str, list[str]]

_STRESS_MARKS = "',%="
_VOWEL_START = frozenset("iIeEaAoOuUV30@")


class Random(typing.Protocol):
    """As much of a `numpy.random.Generator` as is used here."""

    def random(self) -> float: ...


def split_stress(phoneme: str) -> tuple[str, str]:
    """`'aI` to `("'", "aI")`: the stress marks and the sound."""
    sound = phoneme.lstrip(_STRESS_MARKS)
    return phoneme[: len(phoneme) - len(sound)], sound


def is_vowel(phoneme: str) -> bool:
    """Whether a phoneme is a vowel or a diphthong."""
    sound = split_stress(phoneme)[1]
    return bool(sound) and sound[0] in _VOWEL_START


def apply(
    phonemes: abc.Sequence[str], rates: abc.Mapping[str, float], rng: Random
) -> list[str]:
    """A word as a speaker with these processes says it.

    Args:
        phonemes: of the word.
        rates: from a name in `PROCESSES` to the probability that it changes a
            phoneme (for final_deletion: the word) open to it.
        rng: processes of rate 1 always fire, whatever it draws.

    Returns:
        phonemes; some are left of every word that has some.
    """
    said = list(phonemes)
    for process, table in SUBSTITUTIONS.items():
        if rates.get(process, 0):
            said = _substitute(said, table, rates[process], rng)
    if rates.get("cluster_reduction", 0):
        said = _reduce_clusters(said, rates["cluster_reduction"], rng)
    rate = rates.get("final_deletion", 0)
    if rate and len(said) > 2 and not is_vowel(said[-1]):
        if rng.random() < rate:
            said = said[:-1]
    if rate := rates.get("centralise", 0):
        said = [
            split_stress(phoneme)[0] + "@"
            if is_vowel(phoneme) and rng.random() < rate
            else phoneme
            for phoneme in said
        ]
    return said or list(phonemes)


def _substitute(
    phonemes: list[str], table: dict[str, str], rate: float, rng: Random
) -> list[str]:
    said = []
    for phoneme in phonemes:
        stress, sound = split_stress(phoneme)
        if sound in table and rng.random() < rate:
            phoneme = stress + table[sound]
        said.append(phoneme)
    return said


def _reduce_clusters(
    phonemes: list[str], rate: float, rng: Random
) -> list[str]:
    """Drops a consonant that stands before another, keeping the last one."""
    said = []
    for index, phoneme in enumerate(phonemes):
        following = phonemes[index + 1 : index + 2]
        in_cluster = following and not (
            is_vowel(phoneme) or is_vowel(following[0])
        )
        if not (in_cluster and rng.random() < rate):
            said.append(phoneme)
    return said


class _Never:
    """A stand-in for a generator with which only rates of 1 fire."""

    def random(self) -> float:
        # The largest float below 1: `random() < rate` only for a rate of 1.
        return 1.0 - 2.0**-53


def collisions(
    phrases: abc.Iterable[str], lexicon: Lexicon, rates: abc.Mapping[str, float]
) -> list[list[str]]:
    """Groups of phrases that processes make identical in phonemes.

    Args:
        rates: the speaker's processes, as for `apply`. Only those of rate 1
            take part, so that what is found holds for every utterance; pass
            `dict.fromkeys(rates, 1.0)` for what may happen when all fire.
    """
    never = _Never()
    said = {}
    for phrase in phrases:
        words = [
            " ".join(apply(lexicon[word], rates, never))
            for word in phrase.split()
        ]
        said.setdefault(" | ".join(words), []).append(phrase)
    return [group for group in said.values() if len(group) > 1]


def error_bounds(
    spoken: abc.Iterable[tuple[str, abc.Hashable]],
) -> dict[str, float]:
    """The lowest error rates of any recogniser that hears phonemes alone.

    Utterances with the same phonemes must get the same hypothesis, which is
    right for at most the most frequent of their texts.

    Args:
        spoken: each utterance's text and phonemes.

    Returns:
        `phrase_error_rate` and `word_error_rate`, fractions. The second lets
        the hypothesis be any text that was heard so.
    """
    groups = {}
    for text, phonemes in spoken:
        groups.setdefault(phonemes, []).append(text)
    texts = [text for group in groups.values() for text in group]
    if not texts:
        return {"phrase_error_rate": 0.0, "word_error_rate": 0.0}
    wrong_phrases = sum(
        len(group) - max(group.count(text) for text in set(group))
        for group in groups.values()
    )
    wrong_words = sum(
        min(
            sum(scoring.word_errors(group, [guess] * len(group)))
            for guess in sorted(set(group))
        )
        for group in groups.values()
        if len(set(group)) > 1
    )
    num_words = sum(len(text.split()) for text in texts)
    return {
        "phrase_error_rate": wrong_phrases / len(texts),
        "word_error_rate": wrong_words / num_words,
    }
