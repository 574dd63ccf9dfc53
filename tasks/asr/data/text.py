"""Makes transcripts and hypotheses comparable before they are scored.

A word error rate means nothing without its normaliser, so every report stores
the name of the one that was used.
"""

import functools
import re
from collections import abc

from whisper_normalizer import basic, english

from lingvo_like import hyperparams, text_folding

# The normaliser that suits the language that is spoken.
AUTO = "auto"
_ENGLISH = "english"
_CHARACTERS = "characters"
# Written without spaces between words: Chinese, Cantonese, Japanese, Thai, Lao,
# Burmese and Khmer.
_WITHOUT_SPACES = frozenset(("zh", "yue", "ja", "th", "lo", "my", "km"))
_TORGO_DELETED = str.maketrans("", "", '.,?!:;"')
# A dash parts words, as long as it is not a hyphen.
_DASHES = re.compile("[–—―]|--+")
# Whisper's English normaliser looks at one period at a time, and leaves every
# other one of a run.
_PERIODS = re.compile(r"\.(?:\s*\.)+")


def _torgo(text: str) -> str:
    return text.upper().translate(_TORGO_DELETED)


def _basic(split_letters: bool = False) -> abc.Callable[[str], str]:
    # Marks are parts of letters: without them every vowel sign of Hindi would
    # end a word.
    normalizer = basic.BasicTextNormalizer(
        preserve_marks=True, split_letters=split_letters
    )

    def normalized(text: str) -> str:
        text = text_folding.without_optional_marks(text)
        # A capital that has no lower case of one character.
        return normalizer(text.replace("İ", "i"))

    return normalized


def _english_normalizer() -> abc.Callable[[str], str]:
    normalizer = english.EnglishTextNormalizer()
    # It makes a capital C of ℃ after it has lowered the rest.
    return lambda text: normalizer(text).lower()


# Made once, when first asked for: the English one reads a table of 1,700
# spellings.
_MAKERS = {
    "none": lambda: str,
    "basic": _basic,
    _CHARACTERS: lambda: _basic(split_letters=True),
    _ENGLISH: _english_normalizer,
    "torgo": lambda: _torgo,
}

NORMALIZERS = tuple(_MAKERS)


@functools.cache
def _normalizer(name: str) -> abc.Callable[[str], str]:
    if name not in _MAKERS:
        raise ValueError(
            f"unknown text normalizer {name!r}. "
            f"{hyperparams.did_you_mean(str(name), NORMALIZERS)}"
        )
    return _MAKERS[name]()


def choose(normalizer: str, language: str) -> str:
    """The normaliser to score a language with.

    Args:
        normalizer: one of `NORMALIZERS`, or `auto`: `english` for English and
            where the language is unknown, `characters` for languages that are
            written without spaces, `basic` for all others.
        language: a code such as "en"; "" where it is unknown.

    Raises:
        ValueError: the normaliser is unknown, or it is `english`, which takes
            the accents from letters and rewrites words, and the language is
            another one.
    """
    is_english = language in ("", "en")
    if normalizer == AUTO:
        if language in _WITHOUT_SPACES:
            return _CHARACTERS
        return _ENGLISH if is_english else "basic"
    _normalizer(normalizer)
    if normalizer == _ENGLISH and not is_english:
        raise ValueError(
            "the normalizer `english` is for English: it would count "
            f"'schön' and 'schon' as one word. The language is {language!r}; "
            "take `auto`, which goes by the language, or `basic` "
            "(--set=text.normalizer=auto in training, --normalizer=auto in "
            "evaluation)"
        )
    return normalizer


# A phrase is compared once for each of its recordings and systems.
@functools.lru_cache(maxsize=65536)
def normalize(text: str, normalizer: str) -> str:
    """The text as it is compared.

    Args:
        text: a transcript or a hypothesis.
        normalizer: one of `NORMALIZERS`. All begin with
            `text_folding.fold`, and a dash or a run of periods parts words.
            `none` changes nothing more; `basic` and `english` are Whisper's
            (Radford et al. 2022, appendix C), where `basic` keeps accents and
            vowel signs, and leaves out the points of Arabic and Hebrew;
            `characters` is `basic` with every letter as a word, so that word
            errors are character errors (ibid.); `torgo` is upper case without
            `.,?!:;"`.

    Returns:
        words parted by single spaces, each with a letter or digit; empty where
        nothing is left.
    """
    function = _normalizer(normalizer)
    text = text_folding.with_plain_fractions(text_folding.fold(text))
    text = _DASHES.sub(" ", _PERIODS.sub(" ", text))
    return " ".join(filter(text_folding.is_word, function(text).split()))
