"""The gauges of a server, which are read when its metrics are scraped."""

from collections import abc
from typing import Any

from tasks.serving import metrics as serving_metrics
from tasks.serving.models import served_models, versions
from tasks.serving.queueing import admission as queueing_admission
from tasks.serving.submodels import provider


def add(
    metrics: serving_metrics.Metrics,
    models: served_models.ServedModels,
    submodels: provider.SubmodelProvider,
    admission: queueing_admission.Admission,
    requests: versions.Leases,
) -> None:
    """Adds the gauges of all parts of a server.

    Args:
        requests: a lease for each request inside.
    """
    watch, reader = metrics.watch, submodels.reader

    def total(count: abc.Callable[[Any], int]) -> int:
        return sum(map(count, models.available))

    watch("requests_open", "Requests inside.", lambda: requests.num_leases)
    watch("queue_requests", "Utterances inside.", lambda: admission.requests)
    watch("queue_bytes", "Bytes of utterances.", lambda: admission.bytes)
    watch(
        "row_bytes",
        "Bytes of ready Submodels.",
        lambda: submodels.row_bytes,
    )
    watch(
        "file_bytes",
        "Bytes of cached Submodel files.",
        lambda: reader.files.num_bytes,
    )
    watch(
        "store_stuck",
        "Calls of the store that hang.",
        lambda: reader.store.stuck,
    )
    watch(
        "compiles",
        "Compilations by ready engines; a SavedModel has none left.",
        lambda: total(lambda each: each.engine.compile_count),
    )
    watch(
        "batch_shapes",
        "Shapes of batches so far.",
        lambda: total(lambda each: each.batcher.num_shapes),
    )
