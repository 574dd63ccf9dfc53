"""Makes transcripts and hypotheses comparable before they are scored.

A word error rate means nothing without its normaliser, so every report stores
the name of the one that was used.
"""

import functools
from collections import abc

from whisper_normalizer import basic, english

from lingvo_like import hyperparams

_TORGO_DELETED = str.maketrans("", "", '.,?!:;"')


def _torgo(text: str) -> str:
    return text.upper().translate(_TORGO_DELETED)


# Made once, when first asked for: the English one reads a table of 1,700
# spellings.
_MAKERS = {
    "none": lambda: str,
    "basic": basic.BasicTextNormalizer,
    "english": english.EnglishTextNormalizer,
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


# A phrase is compared once for each of its recordings and systems.
@functools.lru_cache(maxsize=65536)
def normalize(text: str, normalizer: str) -> str:
    """The text as it is compared.

    Args:
        text: a transcript or a hypothesis.
        normalizer: one of `NORMALIZERS`. `none` changes nothing; `basic` and
            `english` are Whisper's (Radford et al. 2022, appendix C); `torgo`
            is upper case without `.,?!:;"`.

    Returns:
        words parted by single spaces; empty where nothing is left.
    """
    return " ".join(_normalizer(normalizer)(text).split())
