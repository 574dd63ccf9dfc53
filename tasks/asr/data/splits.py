"""Splitting by phrase: what is tested was never trained on.

A recogniser that heard a phrase from a speaker knows its answer, so within a
speaker every recording of a phrase goes to the same split. Which phrase goes
where is a SHA-256 of the seed and the phrase: the same on every machine, in
any order of the lines, whoever else is in the manifest.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import unicodedata
from collections import abc

from lingvo_like import text_folding
from tasks import tables
from tasks.asr.data import manifest

SPLITS = ("train", "dev", "test")
# Each speaker's own phrases, or the same test phrases for everybody.
BY = ("speaker_phrases", "phrases")
# What becomes of the splits that a corpus comes with.
EXISTING = ("keep", "keep_test", "ignore")

# Figures of fewer utterances of a speaker say little.
ENOUGH = {"train": 20, "test": 5}

# A speaker and what the speaker says, as `phrase_key` has it.
_Phrase = tuple[str, str]


# Splitting needs the key of each text several times.
@functools.lru_cache(maxsize=65536)
def phrase_key(text: str) -> str:
    """The letters of a text: equal for two transcripts of one phrase.

    Case, punctuation, spacing and apostrophes fold away; words stay apart.
    A text of punctuation alone is its own key.
    """
    text = text_folding.with_plain_fractions(text)
    text = text_folding.without_optional_marks(text)
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(_fold(character) for character in folded)
    return " ".join(letters.split()) or " ".join(folded.split())


def _fold(character: str) -> str:
    if character == "'":
        return ""
    return " " if unicodedata.category(character)[0] in "PSZC" else character


@dataclasses.dataclass
class Report:
    """Facts about the splits that their reader should know.

    Attributes:
        counts: split to its number of utterances.
        too_few: speaker to the number of phrases, for speakers that have fewer
            phrases than splits and were put into "train" as a whole.
        absent: speaker to the splits without an utterance of theirs.
        repeated: speaker to the number of phrases both in train and in test,
            which only the splits that a corpus comes with can cause.
        few: speaker to the numbers of utterances, for speakers who are in
            every split and have less than `ENOUGH` of one.
    """

    counts: dict[str, int]
    too_few: dict[str, int]
    absent: dict[str, tuple[str, ...]]
    repeated: dict[str, int]
    few: dict[str, str]

    def describe(self) -> str:
        """Lines of text that end in a newline."""
        lines = [
            "  ".join(f"{name} {count}" for name, count in self.counts.items())
        ]
        lines += _listing(
            "with too few phrases to split, all in train",
            {
                name: tables.counted(count, "phrase")
                for name, count in self.too_few.items()
            },
        )
        lines += _listing(
            "without utterances in a split (--existing_splits=ignore "
            "if the corpus splits by speaker)",
            {
                name: f"none in {' or '.join(missing)}"
                for name, missing in self.absent.items()
                if name not in self.too_few
            },
        )
        lines += _listing(
            "whose corpus has the same phrase in train and test "
            "(these count as seen)",
            {
                name: tables.counted(count, "phrase")
                for name, count in self.repeated.items()
            },
        )
        lines += _listing(
            f"with fewer than {ENOUGH['train']} utterances to train on or "
            f"{ENOUGH['test']} to test (figures of so few utterances say "
            "little; record more, or hold out more by --fractions)",
            self.few,
        )
        return "\n".join(lines) + "\n"


def _listing(title: str, details: abc.Mapping[str, str]) -> list[str]:
    if not details:
        return []
    lines = [f"  {name}: {detail}" for name, detail in details.items()]
    lines = tables.shortened(lines, 10, "  ... ")
    return [f"{tables.counted(len(details), 'speaker')} {title}:", *lines]


def parse_fractions(shares: abc.Sequence[str]) -> tuple[float, ...]:
    """The values of a flag `--fractions`; `assign` checks them."""
    try:
        return tuple(float(share) for share in shares)
    except ValueError:
        raise ValueError(
            "--fractions must be three numbers such as 0.8,0.1,0.1. "
            f"Received: {','.join(shares)}"
        ) from None


def assign(
    utterances: abc.Sequence[manifest.Utterance],
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1),
    seed: int = 0,
    by: str = "speaker_phrases",
    existing: str = "keep",
) -> tuple[dict[str, list[manifest.Utterance]], Report]:
    """Puts every utterance into a split.

    Args:
        fractions: shares of a speaker's phrases in train, dev and test; they
            sum to 1. A share above 0 gets at least one phrase.
        seed: another seed chooses other phrases.
        by: "speaker_phrases" chooses among each speaker's own phrases;
            "phrases" holds the same phrases out for all speakers.
        existing: "keep" leaves utterances that have a split where they are;
            "keep_test" leaves those of "test" and splits the others again into
            train and dev; "ignore" splits everything again.

    Returns:
        split to utterances, in the order given; and a `Report`.

    Raises:
        ValueError: an argument, or an utterance's own split, is unknown.
    """
    _check(fractions, by, existing)
    kept, free = _divide(utterances, existing)
    train, dev, test = fractions
    if existing == "keep_test" and kept:
        train, dev, test = train / (train + dev), dev / (train + dev), 0.0
    chosen, too_few = _choose(free, (train, dev, test), seed, by)
    # A new recording of a phrase joins the recordings that have a split.
    if existing == "keep":
        chosen |= kept
    splits = {name: [] for name in SPLITS}
    for each in utterances:
        if _is_kept(each, existing):
            split = each.split
        else:
            split = chosen[_phrase_of(each)]
        splits[split].append(dataclasses.replace(each, split=split))
    return splits, _report(splits, fractions, too_few)


def _check(fractions: tuple[float, ...], by: str, existing: str) -> None:
    if len(fractions) != 3 or not all(0 <= share <= 1 for share in fractions):
        raise ValueError(
            "fractions must be three shares, of train, dev and test, between "
            f"0 and 1. Received: {fractions}"
        )
    if abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        raise ValueError(
            "fractions must sum to 1 and leave something to train on. "
            f"Received: {fractions}, sum {sum(fractions):g}"
        )
    for name, value, allowed in (
        ("by", by, BY),
        ("existing", existing, EXISTING),
    ):
        if value not in allowed:
            raise ValueError(
                f"{name} must be one of {', '.join(allowed)}. "
                f"Received: {value!r}"
            )


def _is_kept(utterance: manifest.Utterance, existing: str) -> bool:
    if existing == "keep":
        return bool(utterance.split)
    return existing == "keep_test" and utterance.split == "test"


def _divide(
    utterances: abc.Iterable[manifest.Utterance], existing: str
) -> tuple[dict[_Phrase, str], list[_Phrase]]:
    """The kept split of each phrase, and the phrases that have none yet."""
    kept, free = {}, {}
    for each in utterances:
        if existing != "ignore" and each.split not in ("", *SPLITS):
            raise ValueError(
                f"utterance {each.utt_id} of speaker {each.speaker} has split "
                f"{each.split!r}, which is none of {', '.join(SPLITS)}; mend "
                "the manifest or ignore its splits (--existing_splits=ignore)"
            )
        if _is_kept(each, existing):
            kept.setdefault(_phrase_of(each), each.split)
        else:
            free[_phrase_of(each)] = None
    if existing == "keep":
        free = {phrase: None for phrase in free if phrase not in kept}
    return kept, list(free)


def _phrase_of(utterance: manifest.Utterance) -> _Phrase:
    return utterance.speaker, phrase_key(utterance.text)


def _choose(
    phrases: abc.Sequence[_Phrase],
    fractions: tuple[float, ...],
    seed: int,
    by: str,
) -> tuple[dict[_Phrase, str], dict[str, int]]:
    """A split for each phrase; and whose phrases are too few, and how many."""
    num_needed = sum(share > 0 for share in fractions)
    # With "phrases" all speakers share one group.
    groups = collections.defaultdict(list)
    for speaker, key in phrases:
        group = speaker if by == "speaker_phrases" else None
        groups[group].append((speaker, key))
    chosen, too_few = {}, collections.Counter()
    for group, members in groups.items():
        keys = {key for _, key in members}
        if len(keys) < num_needed:
            too_few.update(speaker for speaker, _ in members)
            chosen |= dict.fromkeys(members, "train")
            continue
        prefix = f"{seed}" if group is None else f"{seed}\0{group}"
        names = _names(len(keys), fractions)
        split_of = dict(zip(ranked(keys, prefix), names, strict=True))
        chosen |= {(speaker, key): split_of[key] for speaker, key in members}
    return chosen, dict(too_few)


def ranked(keys: abc.Iterable[str], prefix: str) -> list[str]:
    """Keys in an order that their hashes with a prefix give."""

    def rank(key: str) -> bytes:
        return hashlib.sha256(f"{prefix}\0{key}".encode()).digest()

    return sorted(keys, key=rank)


def _names(num_phrases: int, fractions: tuple[float, ...]) -> list[str]:
    """The split of each rank: test first, then dev, the rest is train."""
    num_test, num_dev = (
        max(1, round(share * num_phrases)) if share else 0
        for share in (fractions[2], fractions[1])
    )
    # Rounding up must not eat the last phrase to train on.
    while num_test + num_dev >= num_phrases:
        if num_test >= num_dev:
            num_test -= 1
        else:
            num_dev -= 1
    num_train = num_phrases - num_test - num_dev
    return ["test"] * num_test + ["dev"] * num_dev + ["train"] * num_train


def _report(
    splits: abc.Mapping[str, abc.Sequence[manifest.Utterance]],
    fractions: tuple[float, ...],
    too_few: dict[str, int],
) -> Report:
    phrases = {name: collections.defaultdict(set) for name in SPLITS}
    for name, members in splits.items():
        for each in members:
            phrases[name][each.speaker].add(phrase_key(each.text))
    speakers = sorted(set().union(*phrases.values()))
    wanted = list(itertools.compress(SPLITS, fractions))
    absent = {
        speaker: tuple(name for name in wanted if not phrases[name][speaker])
        for speaker in speakers
    }
    repeated = {
        speaker: len(phrases["train"][speaker] & phrases["test"][speaker])
        for speaker in speakers
    }
    num = {
        name: collections.Counter(each.speaker for each in members)
        for name, members in splits.items()
    }
    few = {
        speaker: ", ".join(f"{name} {num[name][speaker]}" for name in ENOUGH)
        for speaker in speakers
        if not absent[speaker]
        and any(
            num[name][speaker] < enough
            for name, enough in ENOUGH.items()
            if name in wanted
        )
    }
    return Report(
        counts={name: len(members) for name, members in splits.items()},
        too_few=too_few,
        absent={name: missing for name, missing in absent.items() if missing},
        repeated={name: count for name, count in repeated.items() if count},
        few=few,
    )


class Heard:
    """The phrases and words of a speaker's training transcripts."""

    def __init__(self, train_texts: abc.Iterable[str]) -> None:
        self._phrases = {phrase_key(text) for text in train_texts}
        self._words = {word for key in self._phrases for word in key.split()}

    def novelty(self, text: str) -> str:
        """One of "seen_phrase", "unseen_phrase" and "unseen_words".

        All words of an unseen phrase are seen.
        """
        key = phrase_key(text)
        if key in self._phrases:
            return "seen_phrase"
        if self._words.issuperset(key.split()):
            return "unseen_phrase"
        return "unseen_words"
