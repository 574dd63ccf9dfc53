"""The spoken names of Tux Paint's stamps.

`X_desc_LL.ogg` is what somebody says of the stamp `X` in the language LL, and
the line `LL.utf8=` of `X.txt` is its text. Some were translated anew after they
were spoken.
"""

import dataclasses
import pathlib
import re

from tasks.asr.corpora.fetched import candidates, packages
from tasks.asr.data import rejections

# More than Vorbis's first two headers need up to the encoder's name.
_HEADER_BYTES = 600
_BRACKETS = re.compile(r"[\[\](){}<>]")
_SYMBOLS = re.compile(r"[=$€£¥#&*+@\\|^~_/%]")


@dataclasses.dataclass(frozen=True)
class Person:
    """Selects a language's recordings that are one person's and match texts.

    Attributes:
        encoder: what the header of each names as its encoder, where others
            have spoken the language at another time; "" for any.
        reworded: folders of stamps whose texts were put in other words after
            they were spoken.
    """

    encoder: str = ""
    reworded: tuple[str, ...] = ()


def read(
    root: pathlib.Path, language: str, person: Person
) -> list[candidates.Candidate]:
    """The recordings of one person.

    Args:
        root: folder of the unpacked package.

    Raises:
        FileNotFoundError: the package has no stamps.
    """
    folder = packages.only(root, "stamps")
    found = []
    for path in sorted(folder.rglob(f"*_desc_{language}.ogg")):
        stem = path.name.removesuffix(f"_desc_{language}.ogg")
        place = path.relative_to(folder)
        try:
            _check_person(path, place, person)
            text = _text(path.with_name(f"{stem}.txt"), language)
        except rejections.UnusableError as error:
            text = error
        utt_id = (place.parent / stem).as_posix().replace("/", ".")
        found.append(candidates.Candidate(path, place.as_posix(), utt_id, text))
    return found


def _check_person(
    path: pathlib.Path, place: pathlib.Path, person: Person
) -> None:
    if person.encoder.encode() not in path.read_bytes()[:_HEADER_BYTES]:
        raise rejections.UnusableError("spoken by somebody else")
    if any(map(place.is_relative_to, person.reworded)):
        raise rejections.UnusableError("spoken in other words than its text")


def _text(path: pathlib.Path, language: str) -> str:
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise rejections.UnusableError("no transcript", path.name) from None
    except UnicodeDecodeError:
        raise rejections.UnusableError(
            "text file is not UTF-8", path.name
        ) from None
    prefix = f"{language}.utf8="
    texts = {
        " ".join(line.removeprefix(prefix).split())
        for line in lines
        if line.startswith(prefix)
    }
    if len(texts) > 1:
        raise rejections.UnusableError("several transcripts", repr(texts))
    text = "".join(texts)
    if not any(map(str.isalpha, text)):
        raise rejections.UnusableError("no transcript", path.name)
    if _BRACKETS.search(text):
        raise rejections.UnusableError(
            "words in brackets: said or not, nobody can tell", text
        )
    if _SYMBOLS.search(text):
        raise rejections.UnusableError(
            "symbols: nobody can tell how they are read", text
        )
    return text
