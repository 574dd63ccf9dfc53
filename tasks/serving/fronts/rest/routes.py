"""TensorFlow Serving's REST: predict, metadata, status; health and metrics.

`transcribe` is the project's own: a recording's file in, its text out.
"""

from collections import abc
from typing import Any, NamedTuple

import prometheus_client
from starlette import convertors, requests, responses, routing

from tasks.serving import errors, messages, server as server_lib
from tasks.serving.fronts import (
    compression,
    intake as intake_lib,
    model_messages,
    signatures,
    tensors,
    utterances,
)
from tasks.serving.fronts.http import bodies, guard, responses as http_responses
from tasks.serving.fronts.rest import tensor_json, transcription
from tasks.serving.queueing import limits as limits_lib


class _Name(convertors.StringConvertor):
    """A part of a path that ends at a colon, before the method's name."""

    regex = "[^/:]+"


class _Version(convertors.IntegerConvertor):
    regex = "[0-9]{1,18}"


convertors.register_url_convertor("name", _Name())
convertors.register_url_convertor("version", _Version())
_MODEL = "/v1/models/{name:name}"
# What chooses a version; nothing chooses the newest one.
_CHOICES = ("", "/versions/{version:version}", "/labels/{label:name}")


def routes(
    server: server_lib.Server, intake: intake_lib.Intake
) -> list[routing.Route]:
    """The routes of the REST port."""
    front = _Rest(server, intake)
    found = []
    for choice in _CHOICES:
        path = f"{_MODEL}{choice}"
        found += [
            routing.Route(f"{path}:predict", front.predict, methods=["POST"]),
            routing.Route(
                f"{path}:transcribe", front.transcribe, methods=["POST"]
            ),
            routing.Route(f"{path}/metadata", front.metadata),
            routing.Route(f"{path}/ready", front.model_ready),
            routing.Route(path, front.status),
        ]
    return found + health_routes(server, intake)


def health_routes(
    server: server_lib.Server, intake: intake_lib.Intake
) -> list[routing.Route]:
    """Live, ready and metrics, which every HTTP port answers."""

    async def live(request: requests.Request) -> responses.Response:
        return _health(server.live)

    async def ready(request: requests.Request) -> responses.Response:
        return _health(server.ready and not intake.is_leaving)

    async def metrics(request: requests.Request) -> responses.Response:
        # They count all tenants together, which is no tenant's business.
        guard.caller(request).require_operator()
        return responses.Response(
            prometheus_client.generate_latest(server.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    return [
        routing.Route("/live", live),
        routing.Route("/ready", ready),
        routing.Route("/metrics", metrics),
    ]


class _Answers(NamedTuple):
    """The answers to a request.

    Attributes:
        is_row_format: whether the response is in row format.
        version: of the model.
        headers: who answered; see `utterances.served`.
    """

    is_row_format: bool
    version: int
    answers: list[messages.Answer]
    headers: dict[str, str]


class _Rest:
    """The endpoints of one server."""

    def __init__(
        self, server: server_lib.Server, intake: intake_lib.Intake
    ) -> None:
        self._server = server
        self._intake = intake

    async def predict(self, request: requests.Request) -> responses.Response:
        user = guard.single_header(request.headers, utterances.SUBMODEL_ID)
        found = await self._answers(request, user, to_utterances)
        outputs = utterances.to_outputs(found.answers)
        return http_responses.from_json(
            tensor_json.response(outputs, found.is_row_format),
            headers=found.headers,
        )

    async def transcribe(self, request: requests.Request) -> responses.Response:
        asked = transcription.options(request)
        if asked.user is not None:
            self._server.check_access(guard.caller(request), asked.user)
        try:
            found = await self._answers(
                request, asked.user, transcription.reader(asked.language)
            )
        except errors.ServingError as error:
            raise transcription.advised(error, request) from None
        [answer] = found.answers
        return transcription.response(
            found.version, answer, found.headers, asked.as_text
        )

    async def _answers(
        self,
        request: requests.Request,
        user: str | None,
        to_utterances: abc.Callable[..., tuple[list[messages.Utterance], bool]],
    ) -> _Answers:
        """Reads and serves a prediction.

        Args:
            user: the Submodel id in the request's head, or None.
            to_utterances: reads the body, as the function of that name does.
        """
        caller = guard.caller(request)
        entry = request.state.entry
        self._server.check_room(caller)
        encoding = bodies.encoding(request)
        with self._intake.reservation(caller.tenant) as reserve:
            body = await bodies.read(request, self._intake, reserve)
            num_read = len(body)
            rows, is_row_format = await self._intake.parse(
                None if encoding else num_read,
                to_utterances,
                body,
                encoding,
                user,
                self._intake.limits,
            )
            # JSON is several times as long as what it holds.
            del body
            num_held = sum(
                len(row.audio) for row in rows if isinstance(row.audio, bytes)
            )
            reserve(max(0, num_held - num_read))
            entry.set_utterances(rows)
            version, answers = await self._server.predict(
                caller, _spec(request), rows
            )
        headers = utterances.served(answers)
        entry.served_by = headers.get("x-served-by", "mixed")
        return _Answers(is_row_format, version, answers, headers)

    async def metadata(self, request: requests.Request) -> responses.Response:
        spec = _spec(request)
        return http_responses.from_json(
            model_messages.metadata_json(
                spec.name, *self._server.signature_metadata(spec)
            )
        )

    async def status(self, request: requests.Request) -> responses.Response:
        versions = self._server.model_status(_spec(request))
        return http_responses.from_json(model_messages.status_json(versions))

    async def model_ready(
        self, request: requests.Request
    ) -> responses.Response:
        versions = self._server.model_status(_spec(request))
        return _health(
            self._server.ready
            and not self._intake.is_leaving
            and any(each.state is messages.State.AVAILABLE for each in versions)
        )


def to_utterances(
    body: bytes, encoding: str, user: str | None, limits: limits_lib.Limits
) -> tuple[list[messages.Utterance], bool]:
    """A body's utterances, and whether the response is in row format.

    Args:
        encoding: of `bodies.encoding`.
        user: the Submodel id in a header, or None.
    """
    if encoding:
        body = compression.inflate(body, limits.max_request_bytes)
    request = tensor_json.decode_request(body)
    plain = {
        signatures.SOLE_INPUT if name is None else name: value
        for name, value in request.inputs.items()
    }
    inputs = signatures.inputs_of(request.signature_name, plain)
    arrays = {
        name: tensor_json.to_array(
            value, name, _dtype(value, name, inputs[name])
        )
        for name, value in plain.items()
    }
    rows = utterances.from_arrays(
        request.signature_name, arrays, user, limits.max_request_utterances
    )
    return rows, request.is_row_format


def _dtype(value: Any, name: str, wanted: signatures.Input) -> int:
    """The dtype to read an input as: of recordings if its value looks so."""
    if not wanted.may_be_recordings:
        return wanted.dtype
    values = value if isinstance(value, list) else [value]
    # A text is no file, and its base64 alone would be taken for one.
    if any(isinstance(each, str) for each in values):
        raise tensors.wrong_input(
            name,
            "must hold samples, or recordings: a recording's file goes as "
            '{"b64": BASE64}. Received: a string.',
        )
    # TensorFlow Serving's form for bytes.
    if any(isinstance(each, dict) for each in values):
        return signatures.RECORDING
    return wanted.dtype


def _health(is_well: bool) -> responses.Response:
    content = {"status": "ok" if is_well else "unavailable"}
    return http_responses.from_json(content, 200 if is_well else 503)


def _spec(request: requests.Request) -> messages.ModelSpec:
    """The model that the path names; version 0 is the newest one."""
    parts: dict[str, Any] = request.path_params
    return messages.ModelSpec(
        parts["name"], parts.get("version") or None, parts.get("label")
    )
