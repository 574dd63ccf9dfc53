"""Reading a request's body: bounded in bytes and time."""

import asyncio
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
        async with asyncio.timeout(intake.limits.body_seconds):
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
            f"the body did not arrive within {intake.limits.body_seconds:g} s",
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
