"""Tables, counts and lists as plain text."""

import unicodedata
from collections import abc


def aligned(rows: abc.Iterable[abc.Sequence[str]]) -> str:
    """Rows of one length as lines whose columns begin below each other."""
    rows = list(rows)
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _width(text):
    """The columns of a terminal that a text takes."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def shortened(
    items: abc.Sequence[str], most: int, before: str = ""
) -> list[str]:
    """The first items and, if there are others, one that counts them.

    Args:
        most: how many items to keep.
        before: the text before the count, such as "... ".
    """
    if len(items) <= most:
        return list(items)
    return [*items[:most], f"{before}and {len(items) - most} more"]


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 speaker`, `2 speakers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_names(names: abc.Sequence[str], most: int = 5) -> str:
    """The first names as text, and the number of the others."""
    more = f" and {len(names) - most} more" if names[most:] else ""
    return f"{', '.join(names[:most])}{more}"
