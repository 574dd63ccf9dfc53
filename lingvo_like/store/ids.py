"""The ids that a store takes, of tenants and of speakers."""

import re

# One rule, in words and as a pattern; two dots in a row would lead elsewhere.
RULE = (
    "must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', with a letter or "
    "digit first and no two dots in a row"
)
_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class InvalidIdError(ValueError):
    """The store does not take this id of a tenant or speaker."""


def is_valid(text: object) -> bool:
    """Whether a store takes this id."""
    return (
        isinstance(text, str)
        and bool(_PATTERN.fullmatch(text))
        and ".." not in text
    )


def check_id(kind: str, text: str) -> str:
    """Returns the id of a `kind` such as "speaker" if it is plain.

    Raises:
        InvalidIdError: it is not; the message says what is.
    """
    if not is_valid(text):
        shown = ascii(text)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise InvalidIdError(f"the {kind} id {RULE}. Received: {shown}.")
    return text
