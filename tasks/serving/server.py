"""The server without a transport: what the fronts and other hosts call."""

from tasks.serving import messages

# The server's whole vocabulary under one name.
Caller = messages.Caller
ModelSpec = messages.ModelSpec
ModelConfig = messages.ModelConfig
Utterance = messages.Utterance
Answer = messages.Answer
LoadedSubmodel = messages.LoadedSubmodel
State = messages.State
VersionStatus = messages.VersionStatus


class Server:
    """Serves base models and everyone's Submodels, on one asyncio loop.

    Every method but the constructor runs on the loop of `start`, and raises
    `status.ServingError`.

    Args:
        source: `loader.StoreSource(store)`; None for base models alone.
        engine_factory: function of an export's path that gives an `Engine`.
        models: list of `ModelConfig`.
        limits: `limits.Limits`.
        fallback: "error", or "base": then a user without a Submodel gets the
            base's answer, marked as such.
        registry: prometheus_client registry; a new one if None, `.registry`.
    """

    def __init__(
        self,
        source,
        engine_factory,
        models,
        limits=None,
        fallback="error",
        registry=None,
    ):
        raise NotImplementedError

    @property
    def live(self):
        """Whether no engine call is stuck."""

    @property
    def ready(self):
        """Whether started, not draining and every model has a version."""

    async def start(self):
        """Loads the models; afterwards `ready`, or raises."""

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

    async def load(self, caller, speaker):
        """Makes a speaker's Submodel ready: `LoadedSubmodel`."""

    async def pin(self, caller, speaker):
        """Makes it ready, and keeps it and its successors so."""

    async def unload(self, caller, speaker):
        """Drops it from every cache, once nothing uses it; unpins it."""

    def list(self, caller):
        """The ready Submodels of the caller's speakers, as `LoadedSubmodel`."""

    def model_status(self, spec):
        """List of `VersionStatus`, newest first; NOT_FOUND if unknown."""

    def model_ready(self, name):
        """Whether the model has an available version."""

    def signature_metadata(self, spec):
        """(int version, the engine's `signatures`)."""

    def description(self, spec):
        """(int version, `export_description.Description`)."""

    async def reload(self, configs):
        """Serves these models from now on, list of `ModelConfig`."""

    async def drain(self):
        """Refuses new requests; returns when those admitted are answered."""

    async def close(self):
        """Ends everything; what is still unanswered fails as UNAVAILABLE."""
