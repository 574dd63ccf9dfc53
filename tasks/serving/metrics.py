"""The server's Prometheus metrics. No label names a user."""

from collections import abc

import prometheus_client

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1, 2, 5, 10, 20, 60),
)
_BATCH_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
_FRACTIONS = tuple(tenth / 10 for tenth in range(11))


class Metrics:
    """Counters, gauges and histograms, named `submodels_...`; thread-safe."""

    def __init__(
        self, registry: prometheus_client.CollectorRegistry | None = None
    ) -> None:
        self.registry = registry or prometheus_client.CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests, by how they ended.", "model", "code"
        )
        self.request_seconds = self._histogram(
            "request_seconds",
            "From a request that has been read to its successful answer.",
            _SECONDS,
            "model",
        )
        self.queue_seconds = self._histogram(
            "queue_seconds", "From the queue to the engine.", _SECONDS, "model"
        )
        self.engine_seconds = self._histogram(
            "engine_seconds", "One call of the engine.", _SECONDS, "model"
        )
        self.batch_size = self._histogram(
            "batch_size", "Utterances in a call.", _BATCH_SIZES, "model"
        )
        self.padding_fraction = self._histogram(
            "padding_fraction",
            "The part of a batch's audio that is padding.",
            _FRACTIONS,
            "model",
        )
        self.failed_engine_calls = self._counter(
            "failed_engine_calls", "Calls that raised.", "model"
        )
        self.lookups = self._counter(
            "lookups", "Submodels, by where they were found.", "tier"
        )
        self.evictions = self._counter(
            "evictions", "Submodels evicted to make room.", "tier"
        )
        self.load_seconds = self._histogram(
            "load_seconds", "From a missing row to a ready one.", _SECONDS
        )
        self.fallbacks = self._counter(
            "fallbacks", "Utterances that the base answered instead."
        )
        self.refusals = self._counter(
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

    def _counter(
        self, name: str, text: str, *labels: str
    ) -> prometheus_client.Counter:
        return prometheus_client.Counter(
            f"submodels_{name}", text, labels, registry=self.registry
        )

    def _histogram(
        self, name: str, text: str, buckets: tuple, *labels: str
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f"submodels_{name}",
            text,
            labels,
            registry=self.registry,
            buckets=buckets,
        )
