"""What a server counts, for Prometheus. No label names a user."""

import prometheus_client

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1, 2, 5, 10, 20, 60),
)
_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
_FRACTIONS = tuple(tenth / 10 for tenth in range(11))


class Metrics:
    """Counters, gauges and histograms, all named `submodels_...`.

    Methods may be called from any thread.

    Args:
        registry: prometheus_client registry; a new one if None.
    """

    def __init__(self, registry=None):
        if registry is None:
            registry = prometheus_client.CollectorRegistry()
        self.registry = registry

        def make(kind, name, text, labels=(), **arguments):
            return kind(
                f"submodels_{name}",
                text,
                labels,
                registry=registry,
                **arguments,
            )

        counter = prometheus_client.Counter
        histogram = prometheus_client.Histogram
        self._requests = make(
            counter, "requests", "Requests by their end.", ("model", "code")
        )
        self._latency = make(
            histogram,
            "request_seconds",
            "From a request that is read to its answer, where it has one.",
            ("model",),
            buckets=_SECONDS,
        )
        self._wait = make(
            histogram,
            "queue_seconds",
            "From ready to the engine.",
            ("model",),
            buckets=_SECONDS,
        )
        self._engine = make(
            histogram,
            "engine_seconds",
            "One call of the engine.",
            ("model",),
            buckets=_SECONDS,
        )
        self._batch = make(
            histogram,
            "batch_size",
            "Utterances in a call.",
            ("model",),
            buckets=_SIZES,
        )
        self._padding = make(
            histogram,
            "padding_fraction",
            "The part of a batch's audio that is padding.",
            ("model",),
            buckets=_FRACTIONS,
        )
        self._failed_batches = make(
            counter, "failed_engine_calls", "Calls that raised.", ("model",)
        )
        self._hits = make(
            counter, "lookups", "Where a Submodel was found.", ("tier",)
        )
        self._evictions = make(
            counter, "evictions", "Submodels that made room.", ("tier",)
        )
        self._loads = make(
            histogram,
            "load_seconds",
            "From a row that is missing to a ready one.",
            buckets=_SECONDS,
        )
        self._fallbacks = make(
            counter, "fallbacks", "Utterances the base answered instead."
        )
        self._refusals = make(
            counter, "refusals", "Requests refused unserved.", ("reason",)
        )

    def watch(self, name, text, function):
        """A gauge, `submodels_NAME`, read from a function when scraped."""
        gauge = prometheus_client.Gauge(
            f"submodels_{name}", text, registry=self.registry
        )
        gauge.set_function(function)

    def answered(self, model, code, seconds):
        self._requests.labels(model, code.name).inc()
        if code.name == "OK":
            self._latency.labels(model).observe(seconds)

    def waited(self, model, seconds):
        self._wait.labels(model).observe(seconds)

    def ran(self, model, seconds, batch_size, padding_fraction):
        self._engine.labels(model).observe(seconds)
        self._batch.labels(model).observe(batch_size)
        self._padding.labels(model).observe(padding_fraction)

    def failed(self, model):
        self._failed_batches.labels(model).inc()

    def hit(self, tier):
        self._hits.labels(tier).inc()

    def evicted(self, tier):
        self._evictions.labels(tier).inc()

    def loaded(self, seconds):
        self._loads.observe(seconds)

    def fell_back(self):
        self._fallbacks.inc()

    def refused(self, reason):
        self._refusals.labels(reason).inc()
