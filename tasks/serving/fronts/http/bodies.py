"""Reading a request's body: bounded in bytes, time and inflated size."""

import asyncio
import zlib
from collections import abc

from starlette import requests

from tasks.serving import errors
from tasks.serving.fronts import intake as intake_lib, tensors
from tasks.serving.fronts.http import guard, responses


async def read(
    request: requests.Request,
    intake: intake_lib.Intake,
    reserve: abc.Callable[[int], None],
) -> bytes:
    """A request's body as it was sent, perhaps compressed.

    Args:
        reserve: of `intake.reservation`; counts each part.

    Raises:
        errors.ServingError: the body is too long (413) or too slow (408), the
            client went away, or too many bytes are being read already.
    """
    entry = request.state.entry
    max_bytes = intake.limits.max_request_bytes
    too_large = responses.HttpError(
        413,
        errors.Code.RESOURCE_EXHAUSTED,
        f"the body must have at most {max_bytes} bytes",
    )
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    chunks = []
    try:
        async with asyncio.timeout(intake.body_seconds):
            async for chunk in request.stream():
                entry.request_bytes += len(chunk)
                if entry.request_bytes > max_bytes:
                    raise too_large
                reserve(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise responses.HttpError(
            408,
            errors.Code.DEADLINE_EXCEEDED,
            f"the body did not arrive within {intake.body_seconds:g} s",
        ) from None
    except requests.ClientDisconnect:
        raise errors.ServingError(
            errors.Code.CANCELLED, "the client went away"
        ) from None
    return b"".join(chunks)


def encoding(request: requests.Request) -> str:
    """The body's compression: "gzip", or empty for none; others are refused."""
    value = guard.single_header(request.headers, "Content-Encoding") or ""
    known = value.strip().lower()
    if known in ("", "identity"):
        return ""
    if known == "gzip":
        return known
    raise errors.invalid_argument(
        f"Content-Encoding must be gzip or absent. Received: "
        f"{tensors.show(value)}."
    )


def inflate(data: bytes, max_bytes: int) -> bytes:
    """The content of a gzip file of one member."""
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
