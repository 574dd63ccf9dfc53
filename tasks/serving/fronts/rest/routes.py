"""TensorFlow Serving's REST: predict, metadata, status; health and metrics."""

import prometheus_client
from aiohttp import web

from tasks.serving import messages
from tasks.serving.fronts import intake as intake_lib
from tasks.serving.fronts import model_messages, utterances
from tasks.serving.fronts.rest import calls as rest_calls
from tasks.serving.fronts.rest import tensor_json

_MODEL = "/v1/models/{name:[^/:]+}"
# What chooses a version, or nothing for the newest.
_CHOICES = (
    "",
    r"/versions/{version:[0-9]{1,18}}",
    "/labels/{label:[^/:]+}",
)


class RestFront:
    """The routes of one server.

    Args:
        server: `server.Server`.
        intake: `intake.Intake`.
    """

    def __init__(self, server, intake):
        self._server = server
        self._intake = intake

    @property
    def routes(self):
        """List of `web.RouteDef`, for `http_calls.application`."""
        routes = health_routes(self._server, self._intake)
        for choice in _CHOICES:
            path = f"{_MODEL}{choice}"
            routes += [
                web.post(f"{path}:predict", self._predict),
                web.get(f"{path}/metadata", self._metadata),
                web.get(f"{path}/ready", self._model_ready),
                web.get(path, self._status),
            ]
        return routes

    async def _predict(self, call):
        limits = self._intake.limits
        self._server.check_room(call.caller)
        with self._intake.reservation(call.caller.tenant) as reserve:
            body = await rest_calls.read_body(
                call, reserve, limits, self._intake.body_seconds
            )
            encoding = rest_calls.header(call.request, "Content-Encoding") or ""
            is_plain = rest_calls.is_plain(encoding)
            rows, is_row_format = await self._intake.parse(
                # How much is in it is not known yet: never on the loop.
                len(body) if is_plain else intake_lib.MAX_INLINE_BYTES + 1,
                to_utterances,
                body,
                encoding,
                rest_calls.header(call.request, "X-Submodel-Id"),
                limits,
            )
            # JSON is several times as long as what is in it.
            del body
            call.entry.set_utterances(rows)
            _, answers = await self._server.predict(
                call.caller, _spec(call), rows
            )
        headers = utterances.served(answers)
        call.entry.served_by = headers.get("x-served-by", "mixed")
        call.headers.update(headers)
        return rest_calls.json_response(
            tensor_json.encode_response(
                utterances.to_outputs(answers), is_row_format
            )
        )

    async def _metadata(self, call):
        spec = _spec(call)
        return rest_calls.json_response(
            tensor_json.dump(
                model_messages.metadata_json(
                    spec.name, *self._server.signature_metadata(spec)
                )
            )
        )

    async def _status(self, call):
        versions = self._server.model_status(_spec(call))
        return rest_calls.json_response(
            tensor_json.dump(model_messages.status_json(versions))
        )

    async def _model_ready(self, call):
        versions = self._server.model_status(_spec(call))
        return _health(
            self._server.ready
            and not self._intake.is_leaving
            and any(each.state is messages.State.AVAILABLE for each in versions)
        )


def health_routes(server, intake):
    """What both HTTP ports answer: live, ready, metrics."""

    async def live(call):
        del call
        return _health(server.live)

    async def ready(call):
        del call
        return _health(server.ready and not intake.is_leaving)

    async def metrics(call):
        # They count all tenants together, which is no tenant's business.
        call.caller.require_operator()
        return web.Response(
            body=prometheus_client.generate_latest(server.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    return [
        web.get("/live", live),
        web.get("/ready", ready),
        web.get("/metrics", metrics),
    ]


def _health(is_well):
    body = tensor_json.dump({"status": "ok" if is_well else "unavailable"})
    return rest_calls.json_response(body, 200 if is_well else 503)


def _spec(call):
    """The model that the path names; version 0 is the newest one."""
    parts = call.request.match_info
    version = parts.get("version")
    return messages.ModelSpec(
        parts["name"],
        (int(version) or None) if version else None,
        parts.get("label"),
    )


def to_utterances(body, encoding, user, limits):
    """A body's utterances, and whether the answer is in row format."""
    body = rest_calls.decoded(body, encoding, limits.max_request_bytes)
    request = tensor_json.decode_request(body)
    plain = {
        utterances.SOLE_INPUT if name is None else name: value
        for name, value in request.inputs.items()
    }
    inputs = utterances.inputs_of(request.signature_name, plain)
    arrays = {
        name: tensor_json.to_array(value, name, inputs[name].dtype)
        for name, value in plain.items()
    }
    rows = utterances.from_arrays(
        request.signature_name, arrays, user, limits.max_request_utterances
    )
    return rows, request.is_row_format
