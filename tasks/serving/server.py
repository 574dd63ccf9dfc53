"""The server without a transport: what the fronts and other hosts call."""

import asyncio
import collections
import contextlib
import time

from absl import logging

from tasks.serving import errors as errors_lib
from tasks.serving import messages, predictions
from tasks.serving import metrics as metrics_lib
from tasks.serving.models import loading as model_loading
from tasks.serving.models import served_models
from tasks.serving.queueing import admission, batcher
from tasks.serving.queueing import limits as limits_lib
from tasks.serving.submodels import provider as submodel_provider

# The server's whole vocabulary under one name.
Caller = messages.Caller
ModelSpec = messages.ModelSpec
ModelConfig = messages.ModelConfig
Utterance = messages.Utterance
Answer = messages.Answer
LoadedSubmodel = messages.LoadedSubmodel
State = messages.State
VersionStatus = messages.VersionStatus

FALLBACKS = ("error", "base")
# What is not closed by then is left to the end of the process.
_CLOSE_SECONDS = 10.0


class Server:
    """Serves base models and everyone's Submodels, on one asyncio loop.

    Every method but the constructor runs on the loop of `start`. They raise
    `status.ServingError` and nothing else.

    Args:
        source: `loader.StoreSource(store)`; None for base models alone.
        engine_factory: function of an export's path that gives an `Engine`.
        models: list of `ModelConfig`.
        limits: `limits.Limits`.
        fallback: "error", or "base": then a user without a Submodel gets the
            base's answer, marked as such.
        registry: prometheus_client registry; a new one if None, `.registry`.
        arguments: of `models.Models`, such as `list_folder`.

    Raises:
        ValueError: the fallback is neither.
    """

    def __init__(
        self,
        source,
        engine_factory,
        models,
        limits=None,
        fallback="error",
        registry=None,
        **arguments,
    ):
        if fallback not in FALLBACKS:
            raise ValueError(
                f"`fallback` must be one of {FALLBACKS}. Received: "
                f"{fallback!r}."
            )
        self.limits = limits or limits_lib.Limits()
        self._configs = models
        self._metrics = metrics_lib.Metrics(registry)
        self._admission = admission.Admission(self.limits, self._metrics)
        self._submodels = submodel_provider.Submodels(
            source, self.limits, self._metrics
        )
        self._loader = model_loading.BaseModels(
            engine_factory, self._submodels, self.limits, self._metrics
        )
        self._models = served_models.Models(
            self._loader.load, self.limits, **arguments
        )
        self._predictor = predictions.Predictor(
            self._models,
            self._submodels,
            self._admission,
            self.limits,
            self._metrics,
            fallback,
        )
        # By tenant, so that none waits for what another one has asked for.
        self._ahead = collections.defaultdict(asyncio.Lock)
        self._tasks = []
        self._is_open = False
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._watch_all()

    @property
    def registry(self):
        return self._metrics.registry

    def watch(self, name, text, function):
        """A gauge among the metrics, `submodels_NAME`, read when scraped."""
        self._metrics.watch(name, text, function)

    @property
    def live(self):
        """Whether no engine call is stuck."""
        return not any(
            model.batcher.is_stuck for model in self._models.available
        )

    @property
    def ready(self):
        """Whether started, not draining and every model has a version."""
        return self._is_open and self._models.ready

    async def start(self):
        """Loads the models; afterwards `ready`.

        Raises:
            status.ServingError: a model has no version that loads.
        """
        try:
            await self._models.reload(self._configs)
        except errors_lib.ServingError as error:
            if not self._models.ready:
                await self.close()
                raise
            logging.error("%s", error.message)
        self._is_open = True
        self._tasks = [
            asyncio.create_task(_restarting(self._models.run)),
            asyncio.create_task(_restarting(self._submodels.run)),
        ]

    def check_room(self, caller):
        """Refuses a prediction that any model would refuse for its wait.

        For a front to ask before it reads the request: three times what can
        be served is to cost little more than that.

        Raises:
            status.ServingError: RESOURCE_EXHAUSTED.
        """
        try:
            self._predictor.check_room(caller.tenant)
        except errors_lib.ServingError as error:
            self._metrics.answered("", error.code, 0.0)
            raise

    async def predict(self, caller, spec, utterances, deadline=None):
        """Recognises utterances.

        Args:
            caller: `Caller`.
            spec: `ModelSpec`.
            utterances: list of `Utterance`.
            deadline: float, in the loop's time.

        Returns:
            (int version of the model, list of `Answer` in order).
        """
        started = time.monotonic()
        # A name that is not served would be a label of the sender's choice.
        name = spec.name if self._models.is_available(spec.name) else ""
        code = errors_lib.Code.INTERNAL
        try:
            with self._request():
                result = await self._predictor.predict(
                    caller, spec, utterances, deadline
                )
            code = errors_lib.Code.OK
            return result
        except errors_lib.ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = errors_lib.Code.CANCELLED
            raise
        except Exception:
            logging.exception("a request failed")
            raise errors_lib.ServingError(
                code, "the server failed on this request"
            ) from None
        finally:
            self._metrics.answered(name, code, time.monotonic() - started)

    async def load(self, caller, speaker):
        """Makes a speaker's Submodel ready: `LoadedSubmodel`."""
        self._check_admin(caller, speaker)
        with self._request():
            return await self._submodels.load(caller.tenant, speaker)

    async def load_many(self, caller, speakers):
        """Makes Submodels ready ahead, one after another.

        In turn over all of a tenant's lists, since reading and checking take
        the engines' processors: several at once are felt by those served. A
        drain ends them at the one that is under way.

        Returns:
            list of `LoadedSubmodel`, and a dict of speaker to the
            `status.ServingError` that it ended with.
        """
        caller.require_admin()
        loaded, errors = [], {}
        with self._request():
            for speaker in speakers:
                try:
                    self._check_admin(caller, speaker)
                    async with self._ahead[caller.tenant]:
                        if not self._is_open:
                            raise batcher.closed()
                        loaded.append(
                            await self._submodels.load(caller.tenant, speaker)
                        )
                except errors_lib.ServingError as error:
                    errors[speaker] = error
        return loaded, errors

    async def pin(self, caller, speaker):
        """Makes it ready, and keeps it and its successors so."""
        self._check_admin(caller, speaker)
        with self._request():
            return await self._submodels.pin(caller.tenant, speaker)

    async def unload(self, caller, speaker):
        """Drops it from every cache, once nothing uses it; unpins it."""
        self._check_admin(caller, speaker)
        self._submodels.unload(caller.tenant, speaker)

    def list(self, caller):
        """The ready Submodels of the caller's speakers, as `LoadedSubmodel`."""
        self._check_admin(caller)
        return [
            each
            for each in self._submodels.list(caller.tenant)
            if caller.allows(each.submodel_id)
        ]

    def model_status(self, spec):
        """List of `VersionStatus`, newest first; NOT_FOUND if unknown."""
        return self._models.status(spec)

    def model_ready(self, name):
        """Whether the model has an available version."""
        return self._is_open and self._models.is_available(name)

    def signature_metadata(self, spec):
        """(int version, the engine's `signatures`)."""
        model = self._models.lookup(spec)
        return model.version, model.engine.signatures

    def description(self, spec):
        """(int version, `export_description.Description`)."""
        model = self._models.lookup(spec)
        return model.version, model.description

    async def reload(self, configs):
        """Serves these models from now on; see `models.Models.reload`."""
        with self._request():
            await self._models.reload(configs)

    async def drain(self):
        """Refuses new requests; returns when those admitted are answered."""
        self._is_open = False
        await self._idle.wait()

    async def close(self):
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
        self._submodels.close()

    @contextlib.contextmanager
    def _request(self):
        if not self._is_open:
            self._metrics.refused("closing")
            raise batcher.closed()
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if self._requests == 0:
                self._idle.set()

    def _check_admin(self, caller, speaker=None):
        caller.require_admin()
        if speaker is not None:
            self._submodels.check_user(caller, speaker)

    def _watch_all(self):
        queue, held = self._admission, self._submodels
        for name, text, function in (
            ("requests_open", "Requests in it.", lambda: self._requests),
            ("queue_requests", "Utterances in it.", lambda: queue.requests),
            ("queue_bytes", "Bytes of them.", lambda: queue.bytes),
            ("row_bytes", "Bytes of ready rows.", lambda: held.row_bytes),
            ("file_bytes", "Of cached files.", lambda: held.files.num_bytes),
            ("store_stuck", "Hanging store calls.", lambda: held.store.stuck),
            (
                "compiles",
                "Compilations by ready engines; a SavedModel's are over.",
                self._compiles,
            ),
            ("batch_shapes", "Shapes of batches so far.", self._shapes),
        ):
            self.watch(name, text, function)

    def _compiles(self):
        return sum(
            model.engine.compile_count for model in self._models.available
        )

    def _shapes(self):
        return sum(model.batcher.num_shapes for model in self._models.available)


async def _restarting(run):
    """Runs a background loop for good, whatever it meets."""
    while True:
        try:
            await run()
            return
        except Exception:
            logging.exception("a background task failed; it goes on")
            await asyncio.sleep(1.0)
