"""The recordings that a Submodel has learned from, as a short text.

A recording is known by the SHA-256 of its samples, of which a file keeps the
first 48 bits: 8 bytes for each utterance, 80 kB for 10,000. Of 1,000 recordings
that are compared with those, one is mistaken for another once in 28 million
times.
"""

import base64
import binascii
from collections import abc

# Hexadecimal digits of a hash that are kept.
NUM_DIGITS = 12


def keys(hashes: abc.Iterable[str]) -> frozenset[str]:
    """The first digits of hexadecimal hashes; empty ones are left out."""
    return frozenset(each[:NUM_DIGITS] for each in hashes if each)


def pack(kept: abc.Iterable[str]) -> str:
    """The text of some `keys`; the same for any order of them."""
    data = b"".join(sorted(bytes.fromhex(key) for key in set(kept)))
    return base64.b64encode(data).decode()


def unpack(text: str) -> frozenset[str]:
    """The `keys` of a text.

    Raises:
        ValueError: `pack` did not write it.
    """
    try:
        digits = base64.b64decode(text, validate=True).hex()
    except (binascii.Error, TypeError, ValueError):
        digits = "?"
    found = [
        digits[first : first + NUM_DIGITS]
        for first in range(0, len(digits), NUM_DIGITS)
    ]
    if digits == "?" or len(digits) % NUM_DIGITS or pack(found) != text:
        raise ValueError(
            "`heard` must be hashes as `heard.pack` writes them. Received: "
            f"{text!r:.80}."
        )
    return frozenset(found)
