"""From a transcript to the label that a base model can learn to write.

A model that is taught what it can never write learns something else. Marks that
say nothing are left out of a label; where a word would go with them, the
transcript is refused, because only a person knows what was said.
"""

import re
import unicodedata
from collections import abc

from lingvo_like import text_folding

UNWRITABLE = "transcript has what the base cannot write"
# Text that is not speech, or may not be: a pattern, the reason, the advice.
_NO_SPEECH = (
    (
        r"<\|[^<>]*\|>",
        "transcript has a special token of a model",
        "take it out",
    ),
    (
        r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>|\([^)]*\)"
        "|（[^）]*）|【[^】]*】|［[^］]*］|〔[^〕]*〕",
        "transcript has a mark in brackets",
        "take it out, or the brackets alone if it was said",
    ),
    (
        r"&(?:#\w+|[a-z]{2,}\d?);",
        "transcript has a character in HTML's spelling",
        "write the character itself",
    ),
    # U+FFFD, and what UTF-8 looks like where it is taken for Windows-1252.
    (
        r"\S*(?:\ufffd|â€|ï»¿|[ÃÂ][¡-º¼-¿Ÿœ])\S*",
        "transcript was read in a wrong encoding",
        "write it again, in UTF-8",
    ),
)
_RUN_OF_HYPHENS = re.compile("-{2,}")
_MINUS = re.compile(r"(?<!\S)-(?=\d)")
_QUOTED = re.compile(r"(?<!\S)'(\S(?:[^']|'(?=\w))*)'(?!\w)")
_LEADING = re.compile(r"(?<!\S)['-]+")


class UnwritableError(ValueError):
    """A base model cannot write a transcript.

    Attributes:
        reason: what is wrong, in the same words for the same fault.
        detail: the part of the transcript, and what to do about it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def check_speech(text: str) -> None:
    """Refuses text that is not speech, or may not be.

    Raises:
        UnwritableError: the text has special tokens of a model, words or marks
            in brackets, or characters that were read in a wrong encoding.
    """
    for pattern, reason, advice in _NO_SPEECH:
        found = re.search(pattern, text)
        if found:
            raise UnwritableError(reason, f"{found[0][:40]!r}: {advice}")


def without_marks(text: str, is_lacking: abc.Callable[[str], bool]) -> str:
    """The text without marks that say nothing.

    A mark inside a word parts it, except for a period (`a.m.`).

    Args:
        text: folded.
        is_lacking: whether the base cannot write a character.

    Raises:
        UnwritableError: a mark stands for a word (`&`, `/`, `+`), or for
            something that is said between two digits (`5:30`), or it is a
            letter or number that the base lacks.
    """
    if is_lacking("-"):
        text = _without_hyphens(text)
    kept = []
    for place, character in enumerate(text):
        if not is_lacking(character):
            kept.append(character)
            continue
        if character.isspace():
            kept.append(" ")
            continue
        before, after = text[:place][-1:], text[place + 1 :][:1]
        # A hyphen between digits may be "to", "minus" or nothing at all.
        is_number = before.isdigit() and after.isdigit() and character != "-"
        is_letter = unicodedata.category(character)[0] in "LN"
        if is_letter or is_number or text_folding.is_spoken(character):
            raise _unwritable(text, place, character)
        if before.isalnum() and after.isalnum() and character != ".":
            kept.append(" ")
    return " ".join("".join(kept).split())


def without_single_quotes(text: str) -> str:
    """The text without pairs of apostrophes that are quotation marks."""
    return _QUOTED.sub(r"\1", text)


def without_leading_marks(text: str) -> str:
    """The text without apostrophes and hyphens that begin words.

    Raises:
        UnwritableError: a hyphen is a minus sign.
    """
    return " ".join(_LEADING.sub("", _without_hyphens(text)).split())


def check_latin(text: str) -> None:
    """Refuses letters that an English-only model has no use for.

    Raises:
        UnwritableError: there is a letter of another script.
    """
    for word in text.split():
        for letter in filter(str.isalpha, word):
            if "LATIN" not in unicodedata.name(letter, ""):
                raise UnwritableError(
                    UNWRITABLE,
                    f"{word[:40]!r}: {letter!r} is no Latin letter, and this "
                    "base knows English alone; take a multilingual one",
                )


def _without_hyphens(text: str) -> str:
    """The text without `--`, where no hyphen is a minus sign."""
    minus = _MINUS.search(text)
    if minus:
        raise _unwritable(text, minus.start(), "-")
    return _RUN_OF_HYPHENS.sub(" ", text)


def _unwritable(text: str, place: int, character: str) -> UnwritableError:
    start = text.rfind(" ", 0, place) + 1
    word = text[start : (text.find(" ", place) + 1 or len(text) + 1) - 1]
    return UnwritableError(
        UNWRITABLE,
        f"{word[:40]!r}: it never writes {character!r}; write the words as "
        "they are said",
    )
