"""The languages that a Whisper knows, by its tokenizer's special tokens."""

import re
from collections import abc

END_OF_TEXT = "<|endoftext|>"
ENGLISH = "en"
# The end of text in GPT-2's vocabulary, which the English-only models use.
_ENGLISH_ONLY_END_OF_TEXT = 50256
_LANGUAGE_TOKEN = re.compile(r"<\|([a-z]{2,3})\|>")


def is_multilingual(special: abc.Mapping[str, int]) -> bool:
    """Whether a model of these special tokens takes a language."""
    return special[END_OF_TEXT] != _ENGLISH_ONLY_END_OF_TEXT


def token(language: str) -> str:
    """The special token that tells a multilingual model its language."""
    return f"<|{language}|>"


def of(special: abc.Mapping[str, int]) -> tuple[str, ...]:
    """The codes of the languages that a model can write.

    Args:
        special: ids by special token.

    Returns:
        codes in the order of their tokens; `("en",)` of an English-only model.

    Raises:
        ValueError: a multilingual model has no token of a language.
    """
    if not is_multilingual(special):
        return (ENGLISH,)
    ordered = sorted(special, key=special.__getitem__)
    found = map(_LANGUAGE_TOKEN.fullmatch, ordered)
    languages = tuple(match[1] for match in found if match)
    if not languages:
        raise ValueError(
            "the tokenizer is that of a multilingual Whisper, and has no token "
            f"of a language, such as {token(ENGLISH)}"
        )
    return languages
