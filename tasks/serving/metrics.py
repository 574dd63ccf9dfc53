"""The server's Prometheus metrics. No label names a user."""

import functools
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

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        common = {"namespace": "submodels", "registry": self.registry}
        counter = functools.partial(prometheus_client.Counter, **common)
        histogram = functools.partial(prometheus_client.Histogram, **common)
        timer = functools.partial(histogram, buckets=_SECONDS)
        model = ["model"]
        self.requests = counter(
            "requests", "Requests, by how they ended.", ["model", "code"]
        )
        self.request_seconds = timer(
            "request_seconds",
            "From a request that has been read to its successful answer.",
            model,
        )
        self.queue_seconds = timer(
            "queue_seconds", "From the queue to the engine.", model
        )
        self.engine_seconds = timer(
            "engine_seconds", "One call of the engine.", model
        )
        self.batch_size = histogram(
            "batch_size", "Utterances in a call.", model, buckets=_BATCH_SIZES
        )
        self.padding_fraction = histogram(
            "padding_fraction",
            "The part of a batch's audio that is padding.",
            model,
            buckets=_FRACTIONS,
        )
        self.failed_engine_calls = counter(
            "failed_engine_calls", "Calls that raised.", model
        )
        self.lookups = counter(
            "lookups", "Submodels, by where they were found.", ["tier"]
        )
        self.evictions = counter(
            "evictions", "Submodels evicted to make room.", ["tier"]
        )
        self.load_seconds = timer(
            "load_seconds", "From a missing row to a ready one."
        )
        self.fallbacks = counter(
            "fallbacks", "Utterances that the base answered instead."
        )
        self.refusals = counter(
            "refusals", "Requests refused without being served.", ["reason"]
        )

    def watch(
        self, name: str, text: str, function: abc.Callable[[], float]
    ) -> None:
        """Adds a gauge, `submodels_NAME`, that is read when scraped."""
        gauge = prometheus_client.Gauge(
            f"submodels_{name}", text, registry=self.registry
        )
        gauge.set_function(function)
