"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs."""

import csv
import io
import os
import pathlib
import re
from collections import abc

_DELIMITERS = ",;\t|"
# Some spreadsheets write the delimiter into a line of its own.
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
# Values beyond the last column stand under this key, which no column has.
TOO_MANY = "\0"


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

    The delimiter is the one that the first line has most of. Names of columns
    are in lower case. Empty rows are skipped.

    Args:
        has_quotes: quotation marks around a value are no part of it.

    Yields:
        the number of a row's last line, and its values by column; those beyond
        the last column under `TOO_MANY`.

    Raises:
        csv.Error: the text is no CSV.
    """
    named = _SEPARATOR_LINE.match(text)
    text = text[named.end() :] if named else text
    # Files of old Macs and of Windows have other ends of lines.
    lines = io.StringIO(text, newline=None)
    reader = csv.reader(
        lines,
        delimiter=named[1] if named else _delimiter(text),
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
        skipinitialspace=True,
        strict=False,
    )
    names = [name.strip().lower() for name in next(reader, [])]
    for row in reader:
        values = [value.strip() for value in row]
        if not any(values):
            continue
        fields = dict(zip(names, values, strict=False))
        if any(values[len(names) :]):
            fields[TOO_MANY] = " ".join(values[len(names) :])
        yield reader.line_num + bool(named), fields


def columns(text: str) -> list[str]:
    """The names of a table's columns, in lower case."""
    named = _SEPARATOR_LINE.match(text)
    text = text[named.end() :] if named else text
    delimiter = named[1] if named else _delimiter(text)
    reader = csv.reader(
        io.StringIO(text, newline=None),
        delimiter=delimiter,
        skipinitialspace=True,
    )
    return [name.strip().lower() for name in next(reader, [])]


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(_DELIMITERS, key=header.count)
