"""Codes of languages, and their indices in what a base model knows."""

import re
from collections import abc

# ISO 639, with a script, a region or a variant behind it.
_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]+)*")
# The languages of a base model that has none to choose.
NONE = ("",)


def folded(code: str) -> str:
    """A code as it is compared: lower case, without region ("es-MX" is "es").

    "" stays "", which is no language.

    Raises:
        ValueError: it is no code.
    """
    code = code.strip()
    match = _CODE.fullmatch(code)
    if match:
        return match[1].lower()
    if not code:
        return ""
    raise ValueError(
        f"a language is a code of two or three letters, such as en or es. "
        f"Received: {code[:40]!r}"
    )


def index(languages: abc.Sequence[str], code: str) -> int:
    """The index of a language in those that a base model knows.

    Args:
        languages: `BaseModel.languages`.
        code: as `folded`; "" where nobody said, which is enough for a base
            model that has no choice. A base model without a language takes any.

    Raises:
        ValueError: the base model does not know it, or has to be told one.
    """
    if tuple(languages) == NONE or (not code and len(languages) == 1):
        return 0
    if code in languages:
        return list(languages).index(code)
    if not code:
        raise ValueError(
            "the base model knows several languages, and nothing says which "
            f"one is spoken. It knows: {known(languages)}"
        )
    if len(languages) == 1:
        raise ValueError(
            f"the base model knows the language {languages[0]!r} alone. "
            f"Received: {code!r}. Take a multilingual one for others"
        )
    raise ValueError(
        f"the base model knows no language {code!r}. It knows: "
        f"{known(languages)}"
    )


def known(languages: abc.Iterable[str]) -> str:
    """The codes in a row, for messages."""
    return ", ".join(sorted(languages))
