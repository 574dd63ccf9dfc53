"""Tables of plain text."""


def aligned(rows):
    """Rows as text whose columns begin below each other.

    Args:
        rows: list of sequences of as many strings each.

    Returns:
        str without a newline at its end.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
