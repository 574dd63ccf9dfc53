"""The server object in this process, behind what `ServerProcess` offers."""

import asyncio
import contextlib
import time

import numpy as np
import prometheus_client

from lingvo_like.store import store as submodel_store
from tasks.serving import errors, messages, server
from tasks.serving.exports import saved_model
from tasks.serving.queueing import limits
from tasks.serving.submodels import source as submodel_source
from tests.benchmarks.serving import load, metrics, requests, users

_CALLER = messages.Caller(users.TENANT, is_admin=True, name="benchmark")
_SPEC = messages.ModelSpec(requests.MODEL)


class ServerHere:
    """A server without its fronts, as a context manager.

    Args:
        exports: `pathlib.Path` of a folder of exports by version.
        store: str, root of the store.
        **bounds: of `limits.Limits`.
    """

    def __init__(self, exports, store, **bounds):
        self._server = server.Server(
            submodel_source.StoreSource(submodel_store.SubmodelStore(store)),
            saved_model.SavedModelEngine,
            [messages.ModelConfig(requests.MODEL, str(exports))],
            limits.Limits(**bounds),
        )
        self._runner = asyncio.Runner()

    def __enter__(self):
        self._runner.run(self._server.start())
        return self

    def __exit__(self, *exception):
        with self._runner:
            self._runner.run(self._server.drain())
            self._runner.run(self._server.close())

    def run(self, coroutine):
        """Runs a coroutine on the server's loop."""
        return self._runner.run(coroutine)

    @contextlib.asynccontextmanager
    async def client(self):
        """An object with `predict`, as `load.Client`'s."""
        yield _Client(self._server)

    @contextlib.asynccontextmanager
    async def admin(self):
        """An object with coroutines `load` and `unload` of a speaker."""
        yield _Admin(self._server)

    def metrics(self):
        """A `metrics.Scrape`."""
        found = prometheus_client.generate_latest(self._server.registry)
        return metrics.Scrape(found.decode())


class _Client:
    def __init__(self, served):
        self._server = served

    async def predict(self, request, tag=None, due=None):
        due = time.monotonic() if due is None else due
        audio = np.frombuffer(request.inputs["audio"].tensor_content, "<f4")
        (speaker,) = request.inputs["submodel_id"].string_val
        row = messages.Utterance(audio, speaker.decode())
        try:
            version, answers = await self._server.predict(_CALLER, _SPEC, [row])
        except errors.ServingError as error:
            code, details, version, found = (
                error.code.name,
                error.message,
                0,
                [],
            )
        else:
            code, details = "OK", ""
            found = [
                (each.text, each.score, each.submodel_version, each.served_by)
                for each in answers
            ]
        seconds = time.monotonic() - due
        return load.Outcome(
            due, seconds, code, details, found, version, "", tag
        )


class _Admin:
    def __init__(self, served):
        self._server = served

    async def load(self, speaker):
        await self._server.load(_CALLER, speaker)

    async def unload(self, speaker):
        await self._server.unload(_CALLER, speaker)
