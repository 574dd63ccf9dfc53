"""A recording's file as a request's body, and its text as the response."""

import numpy as np
from starlette import requests, responses

from tasks.asr.recognition import statuses
from tasks.serving import errors, messages
from tasks.serving.fronts import compression, tensors, utterances
from tasks.serving.fronts.http import guard, responses as http_responses
from tasks.serving.queueing import limits as limits_lib

_PARAMETERS = {"base": ("false", "true"), "format": ("json", "text")}
# What a client sends that means another route.
_NO_RECORDINGS = {
    "application/json": "JSON goes to :predict, with the recording as "
    '`{"audio": {"b64": ...}}`',
    "multipart/form-data": "a form is not read here; send the file itself as "
    "the body, as `curl --data-binary @FILE` does",
}


def options(request: requests.Request) -> tuple[bool, str | None]:
    """Whether to answer with text alone, and whose Submodel to use.

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
        if value not in _PARAMETERS[name] or given[name] is not None:
            raise errors.invalid_argument(
                f"the parameter {name!r} must be "
                f"{' or '.join(_PARAMETERS[name])}, once. Received: "
                f"{tensors.show(value)}."
            )
        given[name] = value
    user = guard.single_header(request.headers, utterances.SUBMODEL_ID)
    if (user is None) == (given["base"] != "true"):
        raise errors.invalid_argument(
            f"say whose Submodel to use by the header {utterances.SUBMODEL_ID},"
            " or ?base=true for the base model alone; one of them"
        )
    return given["format"] == "text", user


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


def to_utterances(
    body: bytes, encoding: str, user: str | None, limits: limits_lib.Limits
) -> tuple[list[messages.Utterance], bool]:
    """The utterance of a recording; see `routes.to_utterances`."""
    if encoding:
        body = compression.inflate(body, limits.max_request_bytes)
    return [utterances.of_recording(body, user)], True


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
