"""Item 3: a working set twice the cache, under Zipf traffic."""

import asyncio

import tqdm

from tests.benchmarks.serving import (
    load,
    requests,
    results,
    speech,
    users,
    zipf,
)

SECONDS = 0.4
EXPONENT = 1.0
SCALE = 1e-3
# Small Submodels: what is measured is which of them are there.
BOTTLENECK_DIM = 2
IN_FLIGHT = 16


def run(bench):
    """Fills the cache, then counts hits and latencies."""
    num_users = bench.arguments.users
    num_rows = num_users // 2
    counted = bench.arguments.requests or 10_000
    warm_up = max(counted // 4, 100)
    description = bench.export(BOTTLENECK_DIM).description
    store = users.publish(
        bench.folder(f"working_set_store_{num_users}"),
        description,
        num_users,
        SCALE,
    )
    chances = zipf.probabilities(num_users, EXPONENT)
    asked = zipf.sequence(chances, warm_up + counted, seed=1)
    # As the cache would be after long traffic, or nearly so.
    loaded = range(num_rows)[::-1]
    result = results.Result(
        "working_set",
        f"{num_users} users with Submodels of bottleneck {BOTTLENECK_DIM}, "
        f"{num_rows} ready rows and no file cache, {counted} requests of "
        f"{SECONDS:g} s, Zipf exponent {EXPONENT:g}, after the load of the "
        f"{num_rows} most frequent users and {warm_up} requests",
    )
    limits = {
        "row_cache_bytes": num_rows * 4 * description.num_values,
        "file_cache_bytes": 0,
        "queue_seconds": 60,
    }
    clip = speech.cut(bench.speakers, SECONDS, 1)[0]
    with bench.serve(store.root, BOTTLENECK_DIM, **limits) as server:
        outcomes, hits, loads = asyncio.run(
            _ask(server, clip, loaded, asked, warm_up)
        )
    hit_rate = hits / (hits + loads)
    simulated = zipf.lru_simulated(
        [*loaded, *asked], num_rows, num_rows + warm_up
    )
    result.add("hit_rate", hit_rate, at_least=simulated - 0.01)
    result.add("hit_rate_bound", zipf.static_bound(chances, num_rows))
    result.add("hit_rate_lru_expected", zipf.lru_expected(chances, num_rows))
    result.add("hit_rate_lru_same_requests", simulated)
    result.add("working_set_loads", loads)
    seconds = [outcome.seconds for outcome in outcomes]
    results.percentiles_ms(result, "working_set", seconds)
    return result


async def _ask(server, clip, loaded, asked, warm_up):
    """Outcomes of the counted requests, hits and loads meanwhile."""
    source = (
        (requests.predict(clip, users.name(each)), None)
        for each in tqdm.tqdm(asked, desc="requests")
    )
    async with server.client() as client, server.admin() as admin:
        for number in tqdm.tqdm(loaded, desc="loading"):
            await admin.load(users.name(number))
        done = len(await load.warm_up(client, source))
        outcomes = await load.closed_loop(
            client, source, IN_FLIGHT, count=warm_up - done
        )
        load.check(outcomes)
        before = server.metrics()
        outcomes = await load.closed_loop(
            client, source, IN_FLIGHT, count=len(asked) - warm_up
        )
        load.check(outcomes)
        after = server.metrics()

    def found(tier):
        return after.value("submodels_lookups_total", tier=tier) - before.value(
            "submodels_lookups_total", tier=tier
        )

    return outcomes, found("row"), found("file") + found("store")
