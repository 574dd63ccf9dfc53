"""Item 6: load and unload, again and again: nothing may grow."""

import asyncio
import gc
import random
import time

import numpy as np
import prometheus_client

from lingvo_like import submodel_store
from tasks.serving.core import limits, loader, messages, server
from tests.benchmarks.serving import metrics, processes, results, users
from tests.tasks.serving import fake_engine

USERS = 256
ROWS = 64
SPEC = messages.ModelSpec("submodels")
CALLER = messages.Caller(users.TENANT, is_admin=True)
SAMPLES = 100
# Cycles beforehand, in which caches, pools and allocators fill.
WARM_UP = 2000
# What the system's accounting and allocators may add without a leak: 50,000
# cycles that lose 200 bytes each lose more.
FLAT_BYTES = 8 << 20


def run(bench):
    """Cycles in this process: the server object and a store, no model."""
    cycles = bench.arguments.cycles
    description = bench.description
    store = submodel_store.SubmodelStore(bench.fresh_folder("churn_store"))
    for number in range(USERS):
        packed = users.vector(description, [number, 0], 0.02)
        speaker = users.name(number)
        data = users.file_bytes(description, packed, speaker)
        version = store.publish(data, users.TENANT, speaker)
    result = results.Result(
        "churn",
        f"{cycles} cycles of load, use or not, and unload or not, of {USERS} "
        f"Submodels of {version.num_bytes} bytes in {ROWS} ready rows; the "
        f"server object in this process, no model; {WARM_UP} cycles before",
    )
    started = time.monotonic()
    samples, evictions = asyncio.run(_cycle(description, store, cycles))
    seconds = time.monotonic() - started
    result.add("cycles", cycles)
    result.add("cycles_per_second", (cycles + WARM_UP) / seconds)
    result.add("churn_evictions", int(evictions), at_least=1)
    _describe(result, samples)
    return result


async def _cycle(description, store, cycles):
    """Samples of `processes.Usage`, and the evictions."""
    engine = _Engine(description)
    served = server.Server(
        loader.StoreSource(store),
        lambda path: engine,
        [messages.ModelConfig("submodels", "/exports")],
        limits.Limits(
            row_cache_bytes=ROWS * 4 * description.num_values,
            file_cache_bytes=ROWS * 4 * description.num_values,
            batch_delay_seconds=0.0,
        ),
        list_folder=lambda path: ["1"],
    )
    await served.start()
    # What was there before takes long to look through and is not the matter.
    gc.collect()
    gc.freeze()
    draw = random.Random(3)
    audio = np.zeros(SAMPLES, np.float32)
    samples = []
    for cycle in range(-WARM_UP, cycles):
        speaker = users.name(draw.randrange(USERS))
        if cycle % 2:
            await served.load(CALLER, speaker)
        else:
            row = messages.Utterance(audio, speaker)
            await served.predict(CALLER, SPEC, [row])
        # Half go by hand, the others make room when they have to.
        if cycle % 4 < 2:
            await served.unload(CALLER, speaker)
        if cycle >= 0 and cycle % max(1, cycles // 200) == 0:
            gc.collect()
            samples.append(processes.usage())
    text = prometheus_client.generate_latest(served.registry).decode()
    evictions = metrics.Scrape(text).value(
        "submodels_evictions_total", tier="row"
    )
    await served.drain()
    await served.close()
    return samples, evictions


def _describe(result, samples):
    resident = [each.resident_bytes for each in samples]
    threads = [each.threads for each in samples]
    descriptors = [each.descriptors for each in samples]
    result.add("churn_samples", len(samples), at_least=2)
    result.add("rss_bytes", resident[-1], "bytes")
    result.add(
        "rss_growth_bytes",
        round(results.slope(resident)),
        "by a fit",
        at_most=FLAT_BYTES,
    )
    for name, counts in (("threads", threads), ("descriptors", descriptors)):
        result.add(name, counts[-1])
        result.add(f"{name}_growth", max(counts) - counts[0], at_most=0)


class _Engine(fake_engine.FakeEngine):
    """Answers nothing, for Submodels of a real export's size."""

    def __init__(self, description):
        super().__init__()
        self.description = description

    def transcribe(self, audio, lengths, submodels, index):
        found = super().transcribe(audio, lengths, submodels[:, :1], index)
        self.calls.clear()
        return found
