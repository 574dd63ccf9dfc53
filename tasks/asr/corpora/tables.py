"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs."""

import csv
import io
import os
import pathlib
import re
import typing
from collections import abc

# A name has commas sooner than the others.
_DELIMITERS = "\t|;,"
# Some spreadsheets write the delimiter into a line of its own.
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
# What is wrong with a row stands under this key, which no column has.
FAULT = "\0"
TOO_MANY = (
    "row with more values than columns: a text with commas needs quotation "
    "marks"
)
UNCLOSED = (
    "row over several lines: a quotation mark without a partner, or ends of "
    "lines in a text"
)


def decode(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where its byte order mark says so.

    Raises:
        UnicodeDecodeError: it is in neither.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def read(path: str | os.PathLike) -> str:
    """The text of a file, as `decode` reads it; OSError if it is missing."""
    return decode(pathlib.Path(path).read_bytes())


def rows(
    text: str, has_quotes: bool = True
) -> abc.Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table whose first line names its columns.

    The delimiter is the one that the first line has most of. Empty rows are
    skipped.

    Args:
        has_quotes: quotation marks around a value are no part of it.

    Yields:
        the number of a row's last line, and its values by column, as `columns`
        names them; under `FAULT` what is wrong with it.

    Raises:
        csv.Error: the text is no CSV.
    """
    reader, names, before = _opened(text, has_quotes)
    for row in reader:
        values = [value.strip() for value in row]
        if not any(values):
            continue
        missing = [""] * (len(names) - len(values))
        fields = dict(zip(names, values + missing, strict=False))
        if any(values[len(names) :]):
            fields[FAULT] = TOO_MANY
        # A quotation mark without a partner takes the rows after it with it.
        more = "".join(value.partition("\n")[2] for value in values)
        if reader.dialect.delimiter in more:
            fields[FAULT] = UNCLOSED
        yield reader.line_num + before, fields


def columns(text: str) -> list[str]:
    """The names of a table's columns: in lower case, `_` between words."""
    return _opened(text, True)[1]


def _opened(text: str, has_quotes: bool) -> tuple[typing.Any, list[str], int]:
    """A reader of the rows, the columns, and how many lines are before."""
    named = _SEPARATOR_LINE.match(text)
    text = text[named.end() :] if named else text
    header = text.partition("\n")[0]
    reader = csv.reader(
        # Files of old Macs and of Windows have other ends of lines.
        io.StringIO(text, newline=None),
        delimiter=named[1] if named else max(_DELIMITERS, key=header.count),
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
        skipinitialspace=True,
    )
    names = [
        re.sub("[ -]+", "_", name.strip().lower()) for name in next(reader, [])
    ]
    return reader, names, int(bool(named))
