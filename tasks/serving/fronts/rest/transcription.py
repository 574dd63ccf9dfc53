"""A recording's file as a request's body, and its text as the response."""

from collections import abc
from typing import NamedTuple

import numpy as np
from starlette import requests, responses

from lingvo_like import languages
from tasks.asr.recognition import statuses
from tasks.serving import errors, messages
from tasks.serving.fronts import compression, tensors, utterances
from tasks.serving.fronts.http import guard, responses as http_responses
from tasks.serving.queueing import limits as limits_lib

# By name, the values that it may have; () for any.
_PARAMETERS = {
    "base": ("false", "true"),
    "format": ("json", "text"),
    "language": (),
}
# What a client sends that means another route.
_NO_RECORDINGS = {
    "application/json": "JSON goes to :predict, with the recording as "
    '`{"audio": {"b64": ...}}`',
    "multipart/form-data": "a form is not read here; send the file itself as "
    "the body, as `curl --data-binary @FILE` does",
}


class Options(NamedTuple):
    """The options in the head of a request.

    Attributes:
        as_text: whether to answer with text alone.
        user: whose Submodel to use; None for the base.
        language: a code; "" where the request names none.
    """

    as_text: bool
    user: str | None
    language: str


def options(request: requests.Request) -> Options:
    """Reads the head of a request.

    Raises:
        errors.ServingError: the request's head contradicts itself, or says
            neither whose Submodel to use nor that it is to be none.
    """
    if advice := _NO_RECORDINGS.get(_content_type(request)):
        raise http_responses.HttpError(
            415, errors.Code.INVALID_ARGUMENT, advice
        )
    given = dict.fromkeys(_PARAMETERS)
    for name, value in request.query_params.multi_items():
        if name not in _PARAMETERS:
            raise errors.invalid_argument(
                f"there is no parameter {tensors.show(name)}. There are: "
                f"{tensors.show_names(_PARAMETERS)}."
            )
        values = _PARAMETERS[name]
        if (values and value not in values) or given[name] is not None:
            what = " or ".join(values) or "one code, such as en or es"
            raise errors.invalid_argument(
                f"the parameter {name!r} must be {what}, once. Received: "
                f"{tensors.show(value)}."
            )
        given[name] = value
    user = guard.single_header(request.headers, utterances.SUBMODEL_ID)
    if (user is None) == (given["base"] != "true"):
        raise errors.invalid_argument(
            f"say whose Submodel to use by the header {utterances.SUBMODEL_ID},"
            " or ?base=true for the base model alone; one of them"
        )
    try:
        language = languages.folded(given["language"] or "")
    except ValueError as error:
        raise errors.invalid_argument(
            f"the parameter 'language': {error}"
        ) from None
    return Options(given["format"] == "text", user, language)


def advised(
    error: errors.ServingError, request: requests.Request
) -> errors.ServingError:
    """The error, with advice where the client may have changed the file."""
    is_form = _content_type(request) == "application/x-www-form-urlencoded"
    if not is_form or "not readable as audio" not in error.message:
        return error
    return errors.invalid_argument(
        f"{error.message}. If curl sent it: -d changes a file; use "
        "--data-binary @FILE."
    )


def reader(
    language: str,
) -> abc.Callable[..., tuple[list[messages.Utterance], bool]]:
    """A function to the utterance of a recording; see `routes.to_utterances`.

    Args:
        language: of `Options`.
    """

    def to_utterances(
        body: bytes, encoding: str, user: str | None, limits: limits_lib.Limits
    ) -> tuple[list[messages.Utterance], bool]:
        if encoding:
            body = compression.inflate(body, limits.max_request_bytes)
        return [utterances.of_recording(body, user, language)], True

    return to_utterances


def response(
    version: int,
    answer: messages.Answer,
    headers: dict[str, str],
    as_text: bool,
) -> responses.Response:
    """The answer as JSON, or its text alone.

    Args:
        version: of the model.
        headers: who answered; see `utterances.served`.

    Raises:
        errors.ServingError: INVALID_ARGUMENT, there is no text; says why.
    """
    if not statuses.has_text(answer.status):
        raise errors.invalid_argument(answer.status)
    text = answer.text.decode("utf-8", "replace")
    if as_text:
        status = ascii(errors.capped(answer.status))[1:-1]
        headers = headers | {"x-status": status}
        return responses.PlainTextResponse(f"{text}\n", headers=headers)
    content = {
        "text": text,
        "score": float(str(np.float32(answer.score))),
        "status": answer.status,
        "submodel_version": answer.submodel_version,
        "served_by": answer.served_by,
        "model_version": version,
    }
    return http_responses.from_json(content, headers=headers)


def _content_type(request: requests.Request) -> str:
    """The media type of a request's body, without its parameters."""
    value = request.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()
