"""The languages that a Whisper knows, and the one that it is to write."""

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


def check(special: abc.Mapping[str, int], language: str) -> str:
    """The language that a model writes, given the one that was asked for.

    Args:
        special: ids by special token.
        language: a code such as "es"; may be "" for an English-only model.

    Raises:
        ValueError: the model does not know it, or needs one.
    """
    if not is_multilingual(special):
        if language not in ("", ENGLISH):
            raise ValueError(
                f"an English-only Whisper takes language {ENGLISH!r} alone. "
                f"Received: {language!r}. Take a multilingual Whisper for "
                "other languages"
            )
        return ENGLISH
    found = map(_LANGUAGE_TOKEN.fullmatch, special)
    known = sorted(match[1] for match in found if match)
    if language in known:
        return language
    wrong = f"this Whisper knows no language {language!r}"
    if not language:
        wrong = (
            "a multilingual Whisper needs the language of the speech "
            "(--set=base.language=CODE in training, --language=CODE in "
            "tasks.shorten_context)"
        )
    raise ValueError(f"{wrong}. It knows: {', '.join(known)}")
