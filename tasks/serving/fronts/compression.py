"""Gzip in requests, bounded in what it inflates to."""

import zlib

from tasks.serving import errors

# No protocol buffer and no JSON begins like this.
_GZIP = b"\x1f\x8b"


def is_gzip(data: bytes) -> bool:
    """Whether bytes that are a message begin as gzip does."""
    return data.startswith(_GZIP)


def inflate(data: bytes, max_bytes: int) -> bytes:
    """The content of a gzip file of one member.

    Raises:
        errors.ServingError: INVALID_ARGUMENT, it is none, or holds more.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        content = inflater.decompress(data, max_bytes + 1)
    except zlib.error:
        raise errors.invalid_argument("the body is not gzip") from None
    if len(content) > max_bytes:
        raise errors.invalid_argument(
            f"the body inflates to more than {max_bytes} bytes"
        )
    if not inflater.eof or inflater.unused_data:
        raise errors.invalid_argument("the body must be one whole gzip member")
    return content
