"""Operations on loaded Submodels, on a port of its own: JSON over HTTP.

GET  /v1/submodels              what is ready, of the caller's speakers
POST /v1/submodels:load         makes those of {"submodel_ids": [...]} ready,
                                one after another; says which are not, and why
POST /v1/submodels/ID:load      makes a speaker's Submodel ready
POST /v1/submodels/ID:pin       keeps it and its successors ready
POST /v1/submodels/ID:unload    drops it, and unpins it
"""

import dataclasses

from aiohttp import web

from tasks.serving.fronts import tensors
from tasks.serving.fronts.rest import calls as rest_calls
from tasks.serving.fronts.rest import routes as rest_routes
from tasks.serving.fronts.rest import tensor_json

# Of one request: an answer of so many is some 300 kB.
MAX_NAMES = 1000
# More than any id has, so that each wrong one is named by itself.
MAX_NAME_CHARACTERS = 1000
_SUBMODEL = "/v1/submodels/{submodel_id:[^/:]+}"


class AdminFront:
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
        return [
            *rest_routes.health_routes(self._server, self._intake),
            web.get("/v1/submodels", self._list),
            web.post("/v1/submodels:load", self._load_many),
            web.post(f"{_SUBMODEL}:load", self._changer(self._server.load)),
            web.post(f"{_SUBMODEL}:pin", self._changer(self._server.pin)),
            web.post(f"{_SUBMODEL}:unload", self._changer(self._server.unload)),
        ]

    async def _list(self, call):
        found = self._server.list(call.caller)
        return rest_calls.json_response(
            tensor_json.dump(
                {"submodels": [dataclasses.asdict(each) for each in found]}
            )
        )

    async def _load_many(self, call):
        limits = self._intake.limits
        with self._intake.reservation(call.caller.tenant) as reserve:
            body = await rest_calls.read_body(
                call, reserve, limits, self._intake.body_seconds
            )
            names = await self._intake.parse(len(body), _submodel_ids, body)
            call.entry.submodel_ids = frozenset(names)
            loaded, errors = await self._server.load_many(call.caller, names)
        content = {
            "submodels": [dataclasses.asdict(each) for each in loaded],
            "errors": {
                name: {"code": each.code.name, "error": each.message}
                for name, each in errors.items()
            },
        }
        return rest_calls.json_response(tensor_json.dump(content))

    def _changer(self, method):
        """A handler that calls a method of (caller, speaker)."""

        async def change(call):
            submodel_id = call.request.match_info["submodel_id"]
            call.entry.submodel_ids = frozenset([submodel_id])
            result = await method(call.caller, submodel_id)
            content = {} if result is None else dataclasses.asdict(result)
            return rest_calls.json_response(tensor_json.dump(content))

        return change


def _submodel_ids(body):
    """The different ids that a body names, in their order."""
    content = tensor_json.parse(body)
    names = content.get("submodel_ids") if isinstance(content, dict) else None
    if (
        not isinstance(names, list)
        or set(content) != {"submodel_ids"}
        or not all(isinstance(name, str) for name in names)
        or max(map(len, names), default=0) > MAX_NAME_CHARACTERS
        or not 1 <= len(names) <= MAX_NAMES
    ):
        raise tensors.invalid(
            'the body must be {"submodel_ids": [...]} with 1 to '
            f"{MAX_NAMES} strings of at most {MAX_NAME_CHARACTERS} characters"
        )
    return list(dict.fromkeys(names))
