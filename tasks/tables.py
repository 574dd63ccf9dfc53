"""Tables of plain text."""

from collections import abc


def aligned(rows: abc.Iterable[abc.Sequence[str]]) -> str:
    """Rows of one length as lines whose columns begin below each other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
