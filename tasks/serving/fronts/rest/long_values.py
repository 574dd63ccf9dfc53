"""Long lists of numbers and long base64, read out of JSON slice by slice.

`json.loads` holds Python's lock until it is done, half a second for 30 s of
audio, and nobody else is served meanwhile. It also takes 32 bytes of memory
for a number that needs 4. So long values are cut out first and read in slices,
and the text that is left is short.
"""

import binascii
import json
import re
import secrets
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tasks.serving import errors

# Each takes some hundred bytes of memory for one or two on the wire. A request
# for 64 utterances has fewer than 500.
MAX_BRACKETS = 100_000
MIN_BYTES = 1 << 10
# Without its long values, a request for 64 utterances has a few kilobytes.
MAX_REST_BYTES = 1 << 19
NOT_BASE64 = (
    "a 'b64' is not base64: it takes the standard alphabet and no line breaks "
    "(`base64 -w 0`)"
)
# Whole groups of four characters.
_BASE64_SLICE_BYTES = 1 << 16
_BASE64_START = re.compile(rb'"b64"\s*:\s*"')
_SLICE_BYTES = 1 << 14
_NOT_NUMBERS = (b'"', b"{", b"}")


class LongValues:
    """What was cut out of a text, and the marks in its place."""

    def __init__(self) -> None:
        # No sender can guess it and write it into a request.
        self._key = secrets.token_hex(16)
        self._values: list[np.ndarray | bytes] = []

    def cut(self, body: bytes, min_bytes: int = MIN_BYTES) -> bytes:
        """The text, JSON or not, with a mark in place of each long value.

        Args:
            min_bytes: from which on a list of numbers or the string of a
                `{"b64": ...}` counts as long.
        """
        rest = self._cut_base64(self._cut_lists(body, min_bytes), min_bytes)
        if len(rest) > MAX_REST_BYTES:
            raise errors.invalid_argument(
                f"the JSON must have at most {MAX_REST_BYTES} bytes besides "
                f'long lists of numbers and long {{"b64": ...}}. Received: '
                f"{len(rest)}."
            )
        return rest

    def restore(self, value: dict[str, Any]) -> Any:
        """The value that a mark stands for; any other object as it is."""
        if len(value) == 1:
            if self._key in value:
                return self._values[value[self._key]]
            text = value.get("b64")
            if isinstance(text, str) and text.startswith(self._key):
                return self._values[int(text[len(self._key) :])]
        return value

    def _cut_lists(self, body: bytes, min_bytes: int) -> bytes:
        if sum(map(body.count, (b"[", b"{", b"]"))) > MAX_BRACKETS:
            raise errors.invalid_argument(
                f"the JSON must have at most {MAX_BRACKETS} brackets"
            )
        pieces, done, after, close = [], 0, 0, body.find(b"]")
        while close >= 0:
            # From the end of the last list on, so that no byte is read twice.
            start = body.rfind(b"[", after, close) + 1
            after = close + 1
            if start and close - start >= min_bytes:
                others = (
                    body.find(each, start, close) for each in _NOT_NUMBERS
                )
                if max(others) < 0:
                    mark = json.dumps({self._key: len(self._values)})
                    pieces += body[done : start - 1], mark.encode()
                    self._values.append(_read(body, start, close))
                    done = after
            close = body.find(b"]", after)
        return b"".join([*pieces, body[done:]])

    def _cut_base64(self, body: bytes, min_bytes: int) -> bytes:
        pieces, done = [], 0
        for found in _BASE64_START.finditer(body):
            start = found.end()
            close = body.find(b'"', start)
            # Within what was cut already, one is the text of another.
            if start >= done and close - start >= min_bytes:
                mark = f"{self._key}{len(self._values)}"
                pieces += body[done:start], mark.encode()
                try:
                    self._values.append(read_base64(body[start:close]))
                except ValueError:
                    raise errors.invalid_argument(
                        f"the JSON has {NOT_BASE64}"
                    ) from None
                done = close
        return b"".join([*pieces, body[done:]])


def read_base64(text: bytes) -> bytes:
    """The bytes that a JSON string of base64 stands for.

    Raises:
        ValueError: it is not base64.
    """
    # Some libraries write every slash of JSON so.
    text = text.replace(b"\\/", b"/")
    parts = []
    for start in range(0, len(text), _BASE64_SLICE_BYTES):
        part = text[start : start + _BASE64_SLICE_BYTES]
        parts.append(binascii.a2b_base64(part, strict_mode=True))
        is_last = start + _BASE64_SLICE_BYTES >= len(text)
        if not is_last and part.endswith(b"="):
            raise ValueError("padding belongs at the end")
    return b"".join(parts)


def to_array(values: list[Any], dtype: npt.DTypeLike) -> np.ndarray | None:
    """Numbers as an array `[n]`; None if one does not fit the dtype."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype)
    except OverflowError:
        return None
    return array if np.all(np.isfinite(array)) else None


def refuse_constant(constant: str) -> NoReturn:
    """Refuses NaN and the infinities, which Python's JSON would take."""
    raise errors.invalid_argument(f"{constant} is not a JSON number")


def _read(body: bytes, start: int, end: int) -> np.ndarray:
    """The numbers of `body[start:end]` as an array `[n]` float32."""
    parts = []
    while start <= end:
        stop = body.find(b",", start + _SLICE_BYTES, end)
        stop = end if stop < 0 else stop
        parts.append(_read_slice(body[start:stop]))
        start = stop + 1
    return np.concatenate(parts)


def _read_slice(text: bytes) -> np.ndarray:
    try:
        values = json.loads(
            f"[{text.decode('ascii')}]", parse_constant=refuse_constant
        )
    except json.JSONDecodeError as error:
        raise errors.invalid_argument(
            f"JSON parse error in a list of numbers: {error.msg}"
        ) from None
    except ValueError:
        raise errors.invalid_argument(
            "a list of numbers has other characters or too many digits"
        ) from None
    if not values or not set(map(type, values)) <= {int, float}:
        raise errors.invalid_argument("a long list must hold numbers alone")
    array = to_array(values, np.float32)
    if array is None:
        raise errors.invalid_argument(
            "a list has a number that does not fit float32"
        )
    return array
