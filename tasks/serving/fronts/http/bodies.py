"""Reading a request's body: bounded in bytes, time and inflated size."""

import asyncio
import zlib
from collections import abc

from starlette import requests

from tasks.serving import errors
from tasks.serving.fronts import tensors
from tasks.serving.fronts.http import gate, responses


async def read(
    request: requests.Request,
    reserve: abc.Callable[[int], None],
    max_bytes: int,
    seconds: float,
) -> bytes:
    """A request's body as it was sent, perhaps compressed.

    Args:
        reserve: of `intake.Intake.reservation`; counts each part.
        max_bytes: int, the longest body.
        seconds: float, after which a slow sender is cut off.

    Raises:
        errors.ServingError: the body is too long (413) or too slow (408), the
            client went away, or too many bytes are being read already.
    """
    entry = request.state.entry
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    chunks = []
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                entry.request_bytes += len(chunk)
                if entry.request_bytes > max_bytes:
                    raise _too_large(max_bytes)
                reserve(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise responses.HttpError(
            408,
            errors.Code.DEADLINE_EXCEEDED,
            f"the body did not arrive within {seconds:g} s",
        ) from None
    except requests.ClientDisconnect:
        raise errors.ServingError(
            errors.Code.CANCELLED, "the client went away"
        ) from None
    return b"".join(chunks)


def encoding(request: requests.Request) -> str:
    """The body's compression: "gzip", or empty for none.

    Raises:
        errors.ServingError: INVALID_ARGUMENT, the encoding is another.
    """
    value = gate.single_header(request.headers, "Content-Encoding") or ""
    if value.strip().lower() in ("", "identity"):
        return ""
    if value.strip().lower() == "gzip":
        return "gzip"
    raise errors.invalid_argument(
        f"Content-Encoding must be gzip or absent. Received: "
        f"{tensors.show(value)}."
    )


def inflate(data: bytes, max_bytes: int) -> bytes:
    """The content of a gzip file.

    Raises:
        errors.ServingError: INVALID_ARGUMENT: the data are not gzip, are
            damaged, or inflate to more than `max_bytes`.
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


def _too_large(max_bytes: int) -> responses.HttpError:
    return responses.HttpError(
        413,
        errors.Code.RESOURCE_EXHAUSTED,
        f"the body must have at most {max_bytes} bytes",
    )
