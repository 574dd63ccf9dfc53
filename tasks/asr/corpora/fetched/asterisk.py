"""Telephone prompts of Asterisk: sounds in one package, their texts in another.

The texts are lines `key: text`; the recording of a key is a file of that name
below the voice's folder.
"""

import dataclasses
import gzip
import os
import pathlib
import re

from tasks.asr.corpora.fetched import candidates, packages
from tasks.asr.data import rejections

EXTENSIONS = (".g722", ".gsm", ".wav")
# Words between brackets describe a sound that nobody speaks.
_DESCRIPTION = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
# Words between square brackets within a sentence may be said or not.
_PERHAPS = re.compile(r"\[[^\]]*\w[^\]]*\]")
# Recordings in which nobody speaks, whatever their text says.
_SOUNDS = re.compile(
    r"silence/|beep(err)?$|(a|de)scending-2tone$|confbridge-(join|leave)$"
    r"|tt-monkeys$"
)
# Two lines that lost the break between them.
_ANOTHER_KEY = re.compile(r"\b[a-z]+(-[a-z0-9]+)+:")
# Letters that a wrong encoding has lost: no question goes on in lower case.
_LOST = re.compile(r"\?\s*[^\W\d_]")
_SPOKEN_SYMBOLS = {"en": {"*": "star", "#": "pound"}}


@dataclasses.dataclass(frozen=True)
class Prompts:
    """The place of a voice's prompts.

    Attributes:
        sounds: the end of the path of the folder of its recordings.
        texts: name of the gzipped file of texts.
        only: folders of the keys to take; all if empty. The texts may be
            those of another voice, who says the same where no wording is
            free, as of a digit or a letter.
    """

    sounds: str
    texts: str
    only: tuple[str, ...] = ()


def read(
    sounds_root: pathlib.Path,
    texts_root: pathlib.Path,
    prompts: Prompts,
    language: str,
) -> list[candidates.Candidate]:
    """The recordings of one voice.

    Args:
        sounds_root, texts_root: folders of the unpacked packages.

    Raises:
        FileNotFoundError: the packages do not have them.
    """
    said = read_texts(packages.only(texts_root, prompts.texts))
    folder = packages.only(sounds_root, prompts.sounds)
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.suffix not in EXTENSIONS:
            continue
        if prompts.only and place.parts[0] not in prompts.only:
            continue
        key = place.with_suffix("").as_posix()
        try:
            text = _text(key, said.get(key, []), language)
        except rejections.UnusableError as error:
            text = error
        utt_id = key.replace("/", ".")
        found.append(candidates.Candidate(path, place.as_posix(), utt_id, text))
    return found


def read_texts(path: str | os.PathLike) -> dict[str, list[str]]:
    """The texts of each key, of which there should be one."""
    texts = {}
    with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            key, colon, text = line.partition(":")
            if colon and not line.startswith(";"):
                texts.setdefault(key.strip(), []).append(text.strip())
    return texts


def _text(key: str, texts: list[str], language: str) -> str:
    if not texts:
        raise rejections.UnusableError("no transcript")
    if len(texts) > 1 or _ANOTHER_KEY.search(texts[0]):
        raise rejections.UnusableError("several transcripts", repr(texts))
    if "\ufffd" in texts[0] or _has_lost_letters(texts[0]):
        raise rejections.UnusableError(
            "letters of the transcript are lost", texts[0]
        )
    text = spoken_text(texts[0], language)
    if not text or _SOUNDS.match(key):
        raise rejections.UnusableError("described, not spoken", texts[0])
    if any(symbol in text for symbol in "*#"):
        raise rejections.UnusableError(
            "symbols: nobody can tell how they are read", texts[0]
        )
    if _PERHAPS.search(texts[0]):
        raise rejections.UnusableError(
            "words in brackets: said or not, nobody can tell", texts[0]
        )
    return text


def _has_lost_letters(text: str) -> bool:
    return any(match[0][-1].islower() for match in _LOST.finditer(text))


def spoken_text(text: str, language: str) -> str:
    """A transcript without descriptions and trailing dots; "" if none is left.

    Symbols that are read aloud in English become words: `*` star, `#` pound.
    """
    text = _DESCRIPTION.sub(" ", text)
    for symbol, word in _SPOKEN_SYMBOLS.get(language, {}).items():
        text = text.replace(symbol, f" {word} ")
    text = " ".join(text.replace("...", " ").split())
    return text if any(map(str.isalnum, text)) else ""
