"""Long lists of numbers, read out of JSON slice by slice.

`json.loads` holds Python's lock until it is done, half a second for 30 s of
audio, and nobody else is served meanwhile. It also takes 32 bytes of memory
for a number that needs 4. So long lists are cut out first and read in slices,
and the text that is left has few values. A recording's base64 is one of them.
"""

import json
import secrets
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tasks.serving import errors

# Each takes some hundred bytes of memory for one or two on the wire. A request
# for 64 utterances has fewer than 500.
MAX_BRACKETS = 100_000
MIN_BYTES = 1 << 10
# Without its lists, a request for 64 utterances has a few hundred.
MAX_COMMAS = 100_000
_SLICE_BYTES = 1 << 14
_NOT_NUMBERS = (b'"', b"{", b"}")


class Numbers:
    """The lists that were cut out of a text, and the marks in their place."""

    def __init__(self) -> None:
        # No sender can guess it and write it into a request.
        self._key = secrets.token_hex(16)
        self._arrays: list[np.ndarray] = []

    def cut(self, body: bytes, min_bytes: int = MIN_BYTES) -> bytes:
        """The text, JSON or not, with a mark in place of each long list.

        Args:
            min_bytes: from which on a list of numbers counts as long.
        """
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
                    pieces += body[done : start - 1], self._mark()
                    self._arrays.append(_read(body, start, close))
                    done = after
            close = body.find(b"]", after)
        pieces.append(body[done:])
        rest = b"".join(pieces)
        if rest.count(b",") > MAX_COMMAS:
            raise errors.invalid_argument(
                f"the JSON must have at most {MAX_COMMAS} commas besides long "
                f"lists of numbers. Received: {rest.count(b',')}."
            )
        return rest

    def restore(self, value: dict[str, Any]) -> Any:
        """The array that a mark stands for; any other object as it is."""
        if len(value) == 1 and self._key in value:
            return self._arrays[value[self._key]]
        return value

    def _mark(self) -> bytes:
        return json.dumps({self._key: len(self._arrays)}).encode()


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
