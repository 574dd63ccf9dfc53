"""The language of every utterance, checked against what the base model knows.

An utterance has the language of its manifest's line, else that of the
experiment (`base.language`), else the only one that the base model knows.
"""

import dataclasses
import os
from collections import abc

from lingvo_like import languages as languages_lib
from tasks.asr.data import manifest

HOW_TO_SAY = (
    'give the line a "language", or say --set=base.language=CODE '
    "(--language=CODE in tasks.shorten_context) for all lines that have none"
)


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A base model's languages, and the one of unmarked utterances.

    Attributes:
        known: as `BaseModel.languages`.
        default: the code for utterances without a language; may be "".

    Raises:
        ValueError: the base model does not know the default.
    """

    known: tuple[str, ...]
    default: str = ""

    def __post_init__(self) -> None:
        try:
            if self.default:
                languages_lib.index(self.known, self.default)
        except ValueError as error:
            raise ValueError(f"base.language: {error}") from None

    def resolve(self, lines: manifest.Lines) -> None:
        """Gives every utterance its language.

        Raises:
            ValueError: the base model does not know one, or has to be told
                one, with the place of the first such line.
        """
        for number, (place, utterance) in enumerate(
            zip(lines.places, lines.utterances, strict=True)
        ):
            language = self._language(place, utterance.language)
            if language != utterance.language:
                lines.utterances[number] = dataclasses.replace(
                    utterance, language=language
                )

    def _language(self, place: str, given: str) -> str:
        try:
            code = languages_lib.folded(given) or self.default
            index = languages_lib.index(self.known, code)
        except ValueError as error:
            advice = f"; {HOW_TO_SAY}" * (not given)
            raise ValueError(f"{place}: {error}{advice}") from None
        return code or self.known[index]


def check(
    paths: abc.Iterable[str | os.PathLike],
    known: tuple[str, ...],
    default: str = "",
) -> list[str]:
    """Checks the languages of manifests, whose recordings are not looked at.

    Returns:
        the codes that are spoken, in order.

    Raises:
        ValueError: as `Spoken`, or one is no manifest.
        OSError: one is missing.
    """
    spoken, found = Spoken(known, default), set()
    for path in paths:
        lines = manifest.read_lines(path)
        spoken.resolve(lines)
        found |= {each.language for each in lines.utterances}
    return sorted(found)
