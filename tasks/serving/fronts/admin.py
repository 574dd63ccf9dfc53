"""Operations on loaded Submodels, on a port of its own: JSON over HTTP.

GET  /v1/submodels              lists the ready ones of the caller's speakers
POST /v1/submodels:load         makes those of {"submodel_ids": [...]} ready,
                                one after another; reports those that fail
POST /v1/submodels/ID:load      makes a speaker's Submodel ready
POST /v1/submodels/ID:pin       keeps it and its successors ready
POST /v1/submodels/ID:unload    drops and unpins it
"""

import dataclasses
from collections import abc
from typing import Any

from starlette import requests, responses, routing

from tasks.serving import errors, server as server_lib
from tasks.serving.fronts import intake as intake_lib
from tasks.serving.fronts.http import bodies, guard, responses as http_responses
from tasks.serving.fronts.rest import routes as rest_routes, tensor_json

# In one request: the response to so many has some 300 kB.
MAX_NAMES = 1000
# Longer than any id, so that each wrong one is reported by itself.
MAX_NAME_CHARACTERS = 1000
_SUBMODELS = "/v1/submodels"


def routes(
    server: server_lib.Server, intake: intake_lib.Intake
) -> list[routing.Route]:
    """The routes of the admin port."""

    async def list_ready(request: requests.Request) -> responses.Response:
        found = server.loaded(guard.caller(request))
        return http_responses.from_json(
            {"submodels": [dataclasses.asdict(each) for each in found]}
        )

    async def load_many(request: requests.Request) -> responses.Response:
        caller = guard.caller(request)
        with intake.reservation(caller.tenant) as reserve:
            body = await bodies.read(request, intake, reserve)
            names = await intake.parse(len(body), _submodel_ids, body)
            request.state.entry.submodel_ids = frozenset(names)
            loaded, failed = await server.load_many(caller, names)
        return http_responses.from_json(
            {
                "submodels": [dataclasses.asdict(each) for each in loaded],
                "errors": {
                    name: {"code": each.code.name, "error": each.message}
                    for name, each in failed.items()
                },
            }
        )

    found = [
        routing.Route(_SUBMODELS, list_ready),
        routing.Route(f"{_SUBMODELS}:load", load_many, methods=["POST"]),
    ]
    for change in (server.load, server.pin, server.unload):
        path = f"{_SUBMODELS}/{{submodel_id:name}}:{change.__name__}"
        found.append(routing.Route(path, _change(change), methods=["POST"]))
    return found + rest_routes.health_routes(server, intake)


def _change(method: abc.Callable[..., Any]) -> abc.Callable[..., Any]:
    """An endpoint that calls a method of (caller, speaker)."""

    async def change(request: requests.Request) -> responses.Response:
        submodel_id = request.path_params["submodel_id"]
        request.state.entry.submodel_ids = frozenset([submodel_id])
        result = await method(guard.caller(request), submodel_id)
        return http_responses.from_json(
            {} if result is None else dataclasses.asdict(result)
        )

    return change


def _submodel_ids(body: bytes) -> list[str]:
    """The ids that a body names, each once and in their order."""
    content = tensor_json.parse(body)
    names = content.get("submodel_ids") if isinstance(content, dict) else None
    if (
        not isinstance(names, list)
        or set(content) != {"submodel_ids"}
        or not all(isinstance(name, str) for name in names)
        or max(map(len, names), default=0) > MAX_NAME_CHARACTERS
        or not 1 <= len(names) <= MAX_NAMES
    ):
        raise errors.invalid_argument(
            'the body must be {"submodel_ids": [...]} with 1 to '
            f"{MAX_NAMES} strings of at most {MAX_NAME_CHARACTERS} characters"
        )
    return list(dict.fromkeys(names))
