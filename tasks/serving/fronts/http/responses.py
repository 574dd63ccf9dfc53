"""Responses that every HTTP front gives: JSON, and errors as JSON."""

import json
import math
from collections import abc
from typing import Any

from starlette import responses

from tasks.serving import errors


class HttpError(errors.ServingError):
    """An error of HTTP itself, with a status that no gRPC code maps to."""

    def __init__(self, http: int, code: errors.Code, message: str) -> None:
        super().__init__(code, message)
        self.http = http


def from_json(
    content: Any,
    http: int = 200,
    headers: abc.Mapping[str, str] | None = None,
) -> responses.Response:
    """A response of JSON as UTF-8."""
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return responses.Response(body, http, headers, "application/json")


def from_error(error: errors.ServingError) -> responses.Response:
    """TensorFlow Serving's `{"error": ...}`, with the error's headers."""
    headers = {}
    if error.retry_after_seconds is not None:
        # The header holds whole seconds, and 0 would mean "at once".
        seconds = max(1, math.ceil(error.retry_after_seconds))
        headers["Retry-After"] = str(seconds)
    if error.code is errors.Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    http = getattr(error, "http", error.code.http)
    return from_json({"error": error.message}, http, headers)
