"""The server's Prometheus metrics. No label names a user."""

from collections import abc

import prometheus_client

from tasks.serving import errors

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1, 2, 5, 10, 20, 60),
)
_BATCH_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
_FRACTIONS = tuple(tenth / 10 for tenth in range(11))


class Metrics:
    """Counters, gauges and histograms, all named `submodels_...`.

    Methods may be called from any thread.

    Args:
        registry: a new one if None.
    """

    def __init__(
        self, registry: prometheus_client.CollectorRegistry | None = None
    ) -> None:
        registry = registry or prometheus_client.CollectorRegistry()
        self.registry = registry

        def counter(name: str, text: str, *labels: str):
            return prometheus_client.Counter(
                f"submodels_{name}", text, labels, registry=registry
            )

        def histogram(name: str, text: str, buckets: tuple, *labels: str):
            return prometheus_client.Histogram(
                f"submodels_{name}",
                text,
                labels,
                registry=registry,
                buckets=buckets,
            )

        self._requests = counter(
            "requests", "Requests, by how they ended.", "model", "code"
        )
        self._latency = histogram(
            "request_seconds",
            "From a request that has been read to its successful answer.",
            _SECONDS,
            "model",
        )
        self._wait = histogram(
            "queue_seconds",
            "From the queue to the engine.",
            _SECONDS,
            "model",
        )
        self._engine = histogram(
            "engine_seconds", "One call of the engine.", _SECONDS, "model"
        )
        self._batch = histogram(
            "batch_size", "Utterances in a call.", _BATCH_SIZES, "model"
        )
        self._padding = histogram(
            "padding_fraction",
            "The part of a batch's audio that is padding.",
            _FRACTIONS,
            "model",
        )
        self._failed_calls = counter(
            "failed_engine_calls", "Calls that raised.", "model"
        )
        self._lookups = counter(
            "lookups", "Submodels, by where they were found.", "tier"
        )
        self._evictions = counter(
            "evictions", "Submodels evicted to make room.", "tier"
        )
        self._loads = histogram(
            "load_seconds", "From a missing row to a ready one.", _SECONDS
        )
        self._fallbacks = counter(
            "fallbacks", "Utterances that the base answered instead."
        )
        self._refusals = counter(
            "refusals", "Requests refused without being served.", "reason"
        )

    def watch(
        self, name: str, text: str, function: abc.Callable[[], float]
    ) -> None:
        """Adds a gauge, `submodels_NAME`, that is read when scraped."""
        gauge = prometheus_client.Gauge(
            f"submodels_{name}", text, registry=self.registry
        )
        gauge.set_function(function)

    def answered(self, model: str, code: errors.Code, seconds: float) -> None:
        self._requests.labels(model, code.name).inc()
        if code is errors.Code.OK:
            self._latency.labels(model).observe(seconds)

    def waited(self, model: str, seconds: float) -> None:
        self._wait.labels(model).observe(seconds)

    def called_engine(
        self,
        model: str,
        seconds: float,
        batch_size: int,
        padding_fraction: float,
    ) -> None:
        self._engine.labels(model).observe(seconds)
        self._batch.labels(model).observe(batch_size)
        self._padding.labels(model).observe(padding_fraction)

    def engine_failed(self, model: str) -> None:
        self._failed_calls.labels(model).inc()

    def found(self, tier: str) -> None:
        self._lookups.labels(tier).inc()

    def evicted(self, tier: str) -> None:
        self._evictions.labels(tier).inc()

    def loaded(self, seconds: float) -> None:
        self._loads.observe(seconds)

    def fell_back(self) -> None:
        self._fallbacks.inc()

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()
