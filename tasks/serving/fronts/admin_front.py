"""Operations on loaded Submodels, on a port of its own: JSON over HTTP.

GET  /v1/submodels              what is ready, of the caller's speakers
POST /v1/submodels/ID:load      makes a speaker's Submodel ready
POST /v1/submodels/ID:pin       keeps it and its successors ready
POST /v1/submodels/ID:unload    drops it, and unpins it
"""

import dataclasses

from aiohttp import web

from tasks.serving.fronts import http_calls, rest_front, rest_json

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
            *rest_front.health_routes(self._server, self._intake),
            web.get("/v1/submodels", self._list),
            web.post(f"{_SUBMODEL}:load", self._changer(self._server.load)),
            web.post(f"{_SUBMODEL}:pin", self._changer(self._server.pin)),
            web.post(f"{_SUBMODEL}:unload", self._changer(self._server.unload)),
        ]

    async def _list(self, call):
        found = self._server.list(call.caller)
        return http_calls.json_response(
            rest_json.dump(
                {"submodels": [dataclasses.asdict(each) for each in found]}
            )
        )

    def _changer(self, method):
        """A handler that calls a method of (caller, speaker)."""

        async def change(call):
            submodel_id = call.request.match_info["submodel_id"]
            call.entry.submodel_ids = frozenset([submodel_id])
            result = await method(call.caller, submodel_id)
            content = {} if result is None else dataclasses.asdict(result)
            return http_calls.json_response(rest_json.dump(content))

        return change
