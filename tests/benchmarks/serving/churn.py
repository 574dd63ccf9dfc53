"""Item 6: load and unload, again and again: nothing may grow."""

import asyncio
import itertools
import time

import tqdm

from tests.benchmarks.serving import results, users

SCALE = 1e-3
USERS = 256
# Fewer than those who stay: they make room for each other.
ROWS = 16
# Each with users of its own, so that every load finds nothing there.
CALLERS = 4
# Cycles from one look at the server to the next, and to the next load that
# nobody unloads.
GROUP = 250
# Cycles beforehand, in which all rows come to be used, and caches fill.
WARM_UP = 5000
# What the system's accounting and allocators may add without a leak: 50,000
# cycles that lose 200 bytes each lose more.
FLAT_BYTES = 8 << 20


def run(bench):
    """Cycles over the administrators' port of a server."""
    cycles = bench.arguments.cycles
    store = users.publish(
        bench.folder("churn_store"), bench.description, USERS, SCALE
    )
    result = results.Result(
        "churn",
        f"{cycles} times a load and an unload over the admin port, of {USERS} "
        f"Submodels, {CALLERS} at a time; {ROWS} ready rows; after every "
        f"{GROUP} one that stays until it has to go; {WARM_UP} cycles before",
    )
    row_bytes = 4 * bench.description.num_values
    limits = {
        "row_cache_bytes": ROWS * row_bytes,
        "file_cache_bytes": ROWS * row_bytes,
    }
    with bench.serve(store.root, **limits) as server:
        asyncio.run(_cycle(server, WARM_UP))
        before = server.metrics()
        started = time.monotonic()
        samples = asyncio.run(_cycle(server, cycles))
        seconds = time.monotonic() - started
        after = server.metrics()
    result.add("cycles", cycles)
    result.add("cycles_per_second", cycles / seconds)
    result.add(
        "churn_loads",
        after.count("submodels_load_seconds")
        - before.count("submodels_load_seconds"),
        at_least=cycles,
    )
    result.add(
        "churn_evictions",
        int(after.value("submodels_evictions_total", tier="row")),
        at_least=1,
    )
    _describe(result, samples)
    return result


async def _cycle(server, cycles):
    """`processes.Usage` after each group, when nothing is under way."""
    names = [users.name(number) for number in range(USERS)]
    mine = [
        itertools.cycle(names[caller : USERS // 2 : CALLERS])
        for caller in range(CALLERS)
    ]
    # Who stays is another, so that the callers find nothing ready.
    staying = itertools.cycle(names[USERS // 2 :])
    samples = []
    async with server.admin() as admin:

        async def call(names, count):
            for name in itertools.islice(names, count):
                await admin.load(name)
                await admin.unload(name)

        for first in tqdm.tqdm(range(0, cycles, GROUP), desc="cycles"):
            size = min(GROUP, cycles - first)
            await asyncio.gather(
                *(
                    call(each, size // CALLERS + (place < size % CALLERS))
                    for place, each in enumerate(mine)
                )
            )
            await admin.load(next(staying))
            samples.append(server.usage())
    return samples


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
