"""Item 2: what the first request for a Submodel costs over the next ones."""

import asyncio

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 0.4
SCALE = 1e-3


def run(bench):
    """Asks as each user three times in a row: cold, warm, warm."""
    count = bench.arguments.requests or 400
    clip = speech.cut(bench.speakers, SECONDS, 1)[0]
    root = bench.fresh_folder("cold_store")
    store = users.publish(root, bench.description, count + 8, SCALE)
    users.drop_from_page_cache(root)
    result = results.Result(
        "cold",
        f"{count} Submodels in the store, files out of the page cache, each "
        f"asked three times in a row, one request of {SECONDS:g} s at a time",
    )
    with bench.serve(store.root, queue_seconds=60) as server:
        cold, warm, again = asyncio.run(_ask(server, clip, count))
        loads = server.metrics().count("submodels_load_seconds")
    for name, found in (("cold", cold), ("warm", warm)):
        results.percentiles_ms(result, name, found)
    added = [a - b for a, b in zip(cold, warm, strict=True)]
    noise = [a - b for a, b in zip(again, warm, strict=True)]
    for percent, limit in ((50, 10.0), (99, 50.0)):
        result.add(
            f"cold_added_ms_p{percent}",
            1e3 * results.percentile(added, percent),
            "ms",
            at_most=limit,
        )
        result.add(
            f"warm_against_warm_ms_p{percent}",
            1e3 * results.percentile(noise, percent),
            "ms, noise",
        )
    result.add(
        "cold_p99_minus_warm_p99_ms",
        result.values["cold_ms_p99"] - result.values["warm_ms_p99"],
        "ms",
    )
    result.add("cold_loads", loads, "loads", at_least=count)
    return result


async def _ask(server, clip, count):
    """Seconds of the first, second and third request as each user."""
    found = [], [], []
    async with server.client(connections=1) as client:
        # The last users warm up what is not the Submodel's.
        for number in range(count, count + 8):
            await client.predict(requests.predict(clip, users.name(number)))
        for number in range(count):
            request = requests.predict(clip, users.name(number))
            for seconds in found:
                outcome = await client.predict(request)
                load.check([outcome])
                seconds.append(outcome.seconds)
    return found
