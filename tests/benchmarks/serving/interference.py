"""Item 2: what loading many Submodels does to those who are served."""

import asyncio
import itertools
import statistics
import time

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 1.0
SCALE = 1e-3
WARM_USERS = 16
OTHERS = 400
LOADS_PER_SECOND = 50
# Of one request to the admin port.
LOADS_PER_REQUEST = 5
# Fewer than there are others, who come in turn: each is always read, checked
# and unpacked anew, since no file is kept either.
ROWS = 100
# Of the peak: at it a queue would be what is measured.
UTILISATION = 0.4


def run(bench):
    """Alternates windows of warm requests, with loads beside and without."""
    rounds = bench.arguments.rounds
    window = bench.arguments.seconds
    clip = speech.cut(bench.speakers, SECONDS, 1)[0]
    store = users.publish(
        bench.folder("interference_store"),
        bench.description,
        WARM_USERS + OTHERS,
        SCALE,
    )
    result = results.Result(
        "interference",
        f"{rounds} pairs of windows of {window:g} s, {WARM_USERS} warm users, "
        f"{SECONDS:g} s utterances at {UTILISATION:.0%} of the peak, "
        f"{LOADS_PER_SECOND} loads/s of {OTHERS} others",
    )
    limits = {
        # Nothing is to be refused, however busy the machine is.
        "queue_seconds": 60,
        "row_cache_bytes": ROWS * 4 * bench.description.num_values,
        "file_cache_bytes": 0,
    }
    with bench.serve(store.root, **limits) as server:
        found = asyncio.run(_windows(server, clip, rounds, window))
        loads_seen = server.metrics().count("submodels_load_seconds")
    quiet, busy, loads, per_second, lateness = found
    result.add("interference_requests_per_second", per_second, "requests/s")
    results.percentiles_ms(result, "without_loads", sum(quiet, []))
    results.percentiles_ms(result, "with_loads", sum(busy, []))
    pooled = results.percentile(sum(busy, []), 99) / results.percentile(
        sum(quiet, []), 99
    )
    result.add("load_interference", pooled - 1.0, "rise of p99", at_most=0.2)
    paired = statistics.median(
        results.percentile(b, 99) / results.percentile(q, 99) - 1.0
        for q, b in zip(quiet, busy, strict=True)
    )
    result.add("load_interference_paired", paired, "median rise")
    result.add(
        "loads_per_second",
        loads,
        "loads/s",
        at_least=0.95 * LOADS_PER_SECOND,
    )
    result.add(
        "interference_loads",
        loads_seen,
        "loads",
        at_least=0.95 * LOADS_PER_SECOND * window * rounds,
    )
    result.add("sender_lateness_ms", 1e3 * lateness, "ms")
    return result


async def _windows(server, clip, rounds, window):
    source = itertools.cycle(
        [
            (requests.predict(clip, users.name(number)), None)
            for number in range(WARM_USERS)
        ]
    )
    quiet, busy, loads, late = [], [], [], 0.0
    async with (
        server.client() as client,
        server.admin() as admin,
    ):
        await load.warm_up(client, source)
        outcomes = await load.closed_loop(client, source, 32, count=256)
        load.check(outcomes)
        peak = load.steady_rate(outcomes, 64, 128)
        results.progress(f"peak: {peak:.2f}/s")
        others = itertools.cycle(range(WARM_USERS, WARM_USERS + OTHERS))
        for number in range(rounds):
            # Whoever begins has the machine as the one before left it.
            for with_loads in ((False, True), (True, False))[number % 2]:
                stop = asyncio.Event()
                loader = asyncio.create_task(
                    _load_others(admin, others, stop if with_loads else None)
                )
                (phase,) = await load.open_loop(
                    client, source, (UTILISATION * peak, window)
                )
                stop.set()
                done = await loader
                load.check(phase.outcomes)
                late = max(late, phase.lateness)
                seconds = [outcome.seconds for outcome in phase.outcomes]
                (busy if with_loads else quiet).append(seconds)
                if with_loads:
                    loads.append(done)
    return quiet, busy, statistics.mean(loads), UTILISATION * peak, late


async def _load_others(admin, others, stop):
    """Loads at an even rate until the event; loads per second."""
    if stop is None:
        return 0.0
    started = time.monotonic()
    count, tasks = 0, set()

    while not stop.is_set():
        due = started + count / LOADS_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        names = [users.name(next(others)) for _ in range(LOADS_PER_REQUEST)]
        tasks.add(asyncio.create_task(admin.load_many(names)))
        count += LOADS_PER_REQUEST
        finished = {task for task in tasks if task.done()}
        for task in finished:
            await task
        tasks -= finished
    ended = time.monotonic()
    waiting = LOADS_PER_REQUEST * len(tasks)
    await asyncio.gather(*tasks)
    return (count - waiting) / (ended - started)
