"""The server without a transport: what the fronts and other hosts call."""

import asyncio
import collections
import contextlib
import os
import time
from collections import abc
from typing import Any

from absl import logging

from tasks.serving import (
    errors,
    gauges,
    messages,
    metrics as serving_metrics,
    predictions,
    recordings,
)
from tasks.serving.exports import engine as export_engine
from tasks.serving.models import loader, served_models, versions
from tasks.serving.queueing import admission, limits as serving_limits
from tasks.serving.submodels import provider, source

FALLBACKS = ("error", "base")
# What is not closed by then is left to the end of the process.
_CLOSE_SECONDS = 10.0
_RESTART_SECONDS = 1.0


class Server:
    """Serves base models and everyone's Submodels, on one asyncio loop.

    Every method but the constructor runs on the loop of `start`. They raise
    `ServingError` and nothing else.

    Args:
        submodel_source: a store of Submodels; None serves base models alone.
        engine_factory: makes a warmed-up engine of an export's path; blocks.
        fallback: "error", or "base": then a user without a Submodel gets the
            base's answer, marked as such.
        list_folder: gives the names in a folder of exports; may block.

    Attributes:
        registry: the Prometheus metrics.
        watch: adds a gauge; see `Metrics.watch`.
    """

    def __init__(
        self,
        submodel_source: source.StoreSource | None,
        engine_factory: abc.Callable[[str], export_engine.Engine],
        models: list[messages.ModelConfig],
        limits: serving_limits.Limits | None = None,
        fallback: str = "error",
        list_folder: abc.Callable[[str], list[str]] = os.listdir,
    ) -> None:
        if fallback not in FALLBACKS:
            raise ValueError(
                f"`fallback` must be one of {FALLBACKS}. Received: "
                f"{fallback!r}."
            )
        limits = limits or serving_limits.Limits()
        self._configs = models
        self._metrics = metrics = serving_metrics.Metrics()
        self.registry, self.watch = metrics.registry, metrics.watch
        self._admission = admission.Admission(limits, metrics)
        self._submodels = provider.SubmodelProvider(
            submodel_source, limits, metrics
        )
        self._loader = loader.ModelLoader(
            engine_factory, self._submodels, limits, metrics
        )
        self._models = served_models.ServedModels(
            self._loader.load, limits, list_folder
        )
        self._decoder = recordings.Decoder(limits)
        self._predictor = predictions.Predictor(
            self._models,
            self._submodels,
            self._admission,
            self._decoder,
            limits,
            metrics,
            fallback == "base",
        )
        # By tenant, so that none waits for the lists of another.
        self._load_locks = collections.defaultdict(asyncio.Lock)
        self._tasks: list[asyncio.Task] = []
        self._is_open = False
        self._requests = versions.Leases()
        gauges.add(
            metrics,
            self._models,
            self._submodels,
            self._admission,
            self._requests,
        )

    @property
    def live(self) -> bool:
        """Whether no engine call is stuck."""
        return not any(each.batcher.is_stuck for each in self._models.available)

    @property
    def ready(self) -> bool:
        """Whether it is open and every model has a version that serves."""
        return self._is_open and self._models.ready

    async def start(self) -> None:
        """Loads the models; afterwards the server is `ready`.

        Raises:
            ServingError: a model has no version that loads.
        """
        try:
            await self._models.reload(self._configs)
        except errors.ServingError as error:
            if not self._models.ready:
                await self.close()
                raise
            logging.error("%s", error.message)
        self._is_open = True
        self._tasks = [
            asyncio.create_task(_restarting(self._models.run)),
            asyncio.create_task(_restarting(self._submodels.run)),
        ]

    def check_room(self, caller: messages.Caller) -> None:
        """Refuses a prediction that every model would refuse for its wait.

        A front asks before it reads a request: refusing what exceeds the
        capacity should cost as little as possible.
        """
        with self._counting_refusals():
            self._predictor.check_room(caller.tenant)

    def check_access(self, caller: messages.Caller, speaker: str) -> None:
        """Refuses a prediction with a Submodel that the caller may not use.

        A front asks before it reads a request, where its head names the
        speaker.
        """
        with self._counting_refusals():
            self._submodels.check_access(caller, speaker)

    async def predict(
        self,
        caller: messages.Caller,
        spec: messages.ModelSpec,
        utterances: list[messages.Utterance],
        deadline: float | None = None,
    ) -> tuple[int, list[messages.Answer]]:
        """The version of the model, and an answer for each utterance.

        Args:
            deadline: in the loop's time.
        """
        started = time.monotonic()
        # A name that is not served would be a label of the sender's choice.
        name = spec.name if self._models.is_available(spec.name) else ""
        code = errors.Code.INTERNAL
        try:
            with self._request():
                result = await self._predictor.predict(
                    caller, spec, utterances, deadline
                )
            code = errors.Code.OK
            seconds = time.monotonic() - started
            self._metrics.request_seconds.labels(name).observe(seconds)
            return result
        except errors.ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = errors.Code.CANCELLED
            raise
        except Exception:
            logging.exception("a request failed")
            raise errors.internal("the server failed on this request") from None
        finally:
            self._metrics.requests.labels(name, code.name).inc()

    async def load(
        self, caller: messages.Caller, speaker: str
    ) -> messages.LoadedSubmodel:
        """Makes a speaker's Submodel ready."""
        self._check_admin(caller, speaker)
        with self._request():
            return await self._submodels.load(caller.tenant, speaker)

    async def load_many(
        self, caller: messages.Caller, speakers: list[str]
    ) -> tuple[list[messages.LoadedSubmodel], dict[str, errors.ServingError]]:
        """Makes Submodels ready before they are asked for, one by one.

        The lists of one tenant take turns: reading and checking use the
        engines' processors, and several at once would slow down answers. A
        drain ends a list after the Submodel that is being loaded.

        Returns:
            what was loaded, and for each other speaker the error.
        """
        caller.require_admin()
        loaded, failed = [], {}
        with self._request():
            for speaker in speakers:
                try:
                    self._check_admin(caller, speaker)
                    async with self._load_locks[caller.tenant]:
                        if not self._is_open:
                            raise errors.not_serving()
                        loaded.append(
                            await self._submodels.load(caller.tenant, speaker)
                        )
                except errors.ServingError as error:
                    failed[speaker] = error
        return loaded, failed

    async def pin(
        self, caller: messages.Caller, speaker: str
    ) -> messages.LoadedSubmodel:
        """Makes a Submodel ready, and keeps it and its successors so."""
        self._check_admin(caller, speaker)
        with self._request():
            return await self._submodels.pin(caller.tenant, speaker)

    async def unload(self, caller: messages.Caller, speaker: str) -> None:
        """Unpins a Submodel and drops it once nothing uses it."""
        self._check_admin(caller, speaker)
        self._submodels.unload(caller.tenant, speaker)

    def loaded(self, caller: messages.Caller) -> list[messages.LoadedSubmodel]:
        """The ready Submodels of the caller's speakers."""
        caller.require_admin()
        return [
            each
            for each in self._submodels.loaded(caller.tenant)
            if caller.allows(each.submodel_id)
        ]

    def model_status(
        self, spec: messages.ModelSpec
    ) -> list[messages.VersionStatus]:
        """See `ServedModels.status`."""
        return self._models.status(spec)

    def model_ready(self, name: str) -> bool:
        """Whether the model has a version that serves."""
        return self._is_open and self._models.is_available(name)

    def signature_metadata(
        self, spec: messages.ModelSpec
    ) -> tuple[int, abc.Mapping[str, Any]]:
        """The version of a model, and its engine's `signatures`."""
        model = self._models.find(spec)
        return model.version, model.engine.signatures

    async def reload(self, configs: list[messages.ModelConfig]) -> None:
        """Serves these models from now on; see `ServedModels.reload`."""
        with self._request():
            await self._models.reload(configs)

    async def drain(self) -> None:
        """Refuses new requests; returns when those admitted are answered."""
        self._is_open = False
        await self._requests.idle()

    async def close(self) -> None:
        """Ends everything; what is still unanswered fails as UNAVAILABLE."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(
                    *(model.batcher.close() for model in self._models.available)
                )
                await self._models.close()
        except TimeoutError:
            logging.error("an engine call does not end; leaving it")
        self._loader.close()
        self._decoder.close()
        self._submodels.close()

    @contextlib.contextmanager
    def _counting_refusals(self) -> abc.Iterator[None]:
        """Counts predictions that are refused before they are read."""
        try:
            yield
        except errors.ServingError as error:
            self._metrics.requests.labels("", error.code.name).inc()
            raise

    def _request(self) -> contextlib.AbstractContextManager[None]:
        """Counts a request, which a drain then waits for."""
        if not self._is_open:
            self._metrics.refusals.labels("closing").inc()
            raise errors.not_serving()
        return self._requests.lease()

    def _check_admin(self, caller: messages.Caller, speaker: str) -> None:
        caller.require_admin()
        self._submodels.check_access(caller, speaker)


async def _restarting(run: abc.Callable[[], abc.Awaitable[None]]) -> None:
    """Runs a background loop again whenever it fails."""
    while True:
        try:
            await run()
            return
        except Exception:
            logging.exception("a background task failed; it starts again")
            await asyncio.sleep(_RESTART_SECONDS)
