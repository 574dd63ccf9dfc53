"""Item 5: three times what the server can do, and what it makes of it."""

import asyncio
import itertools

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 2.0
SCALE = 1e-3
USERS = 64
BATCH = 16
OVERLOAD = 3.0
# Before and after the overload, a load that is easily served.
CALM = 0.5
RECOVERY_SECONDS = 5.0
# The p99 is back when a second's is at most so many times the one before.
BACK = 1.5
REFUSED = "RESOURCE_EXHAUSTED"


def run(bench):
    """Peak, calm, overload, calm again."""
    seconds = bench.arguments.overload_seconds
    clips = speech.cut(bench.speakers, SECONDS, USERS)
    store = users.publish(
        bench.folder("overload_store"), bench.description, USERS, SCALE
    )
    result = results.Result(
        "overload",
        f"{USERS} users, {SECONDS:g} s utterances, {OVERLOAD:g} times the "
        f"peak for {seconds:g} s, {CALM:g} times before and after",
    )
    with bench.serve(store.root) as server:
        asyncio.run(_phases(result, server, clips, seconds))
    return result


async def _phases(result, server, clips, seconds):
    source = itertools.cycle(
        [
            (requests.predict(clip, users.name(number)), None)
            for number, clip in enumerate(clips)
        ]
    )
    calm_seconds = max(10.0, min(20.0, seconds / 2))
    async with server.client(connections=8) as client:

        async def peak(seconds):
            """Answers per second while there is always a next batch."""
            outcomes = await load.closed_loop(
                client, source, 2 * BATCH, seconds=seconds
            )
            good = [each for each in outcomes if each.ok]
            count = BATCH * (len(good) // BATCH - 3)
            if count < BATCH:
                raise RuntimeError(
                    f"only {len(good)} answers in {seconds:g} s; take longer: "
                    f"{load.codes(outcomes)}"
                )
            return load.steady_rate(good, BATCH, count)

        await load.warm_up(client, source)
        before = await peak(calm_seconds)
        results.progress(f"peak: {before:.2f}/s")
        calm, over, recovery = await load.open_loop(
            client,
            source,
            (CALM * before, calm_seconds),
            (OVERLOAD * before, seconds),
            (CALM * before, 3 * RECOVERY_SECONDS),
        )
        after = await peak(calm_seconds)
    refused = sum(not each.ok for each in calm.outcomes)
    result.add("calm_refused", refused, "requests", at_most=0)
    result.add("peak_per_second", before, "utterances/s")
    result.add("peak_after_per_second", after, "utterances/s")
    usual = [each.seconds for each in calm.outcomes if each.ok]
    results.percentiles_ms(result, "calm", usual)
    _describe_overload(result, over, before)
    _describe_recovery(result, results.percentile(usual, 99), recovery)


def _describe_overload(result, over, peak):
    outcomes = over.outcomes
    refused = [each for each in outcomes if each.code == REFUSED]
    others = [e for e in outcomes if not e.ok and e.code != REFUSED]
    # The first batches come out of an empty queue.
    length = over.ended - over.begun
    settled = over.begun + min(2.0, length / 4)
    good = load.goodput(outcomes, settled, over.ended)
    result.add("offered_per_second", len(outcomes) / length, "utterances/s")
    result.add("sender_lateness_ms", 1e3 * over.lateness, "ms")
    result.add("goodput_per_second", good, "utterances/s")
    result.add("goodput_over_peak", good / peak, at_least=0.9)
    result.add("refused", len(refused), "requests", at_least=1)
    result.add(
        "refusal_ms_p50",
        _milliseconds(results.percentile((e.seconds for e in refused), 50)),
        "ms",
    )
    result.add(
        "refusal_ms_p99",
        _milliseconds(results.percentile((e.seconds for e in refused), 99)),
        "ms",
        at_most=50.0,
    )
    result.add(
        "refusals_without_retry_after",
        sum(not each.retry_after for each in refused),
        "requests",
        at_most=0,
    )
    result.add("overload_other_errors", len(others), "requests", at_most=0)
    if others:
        result.note(f"first: {others[0].code}: {others[0].details}")
    served = [each.seconds for each in outcomes if each.ok]
    results.percentiles_ms(result, "overload_served", served)


def _describe_recovery(result, usual, recovery):
    """From the overload's end to the first moment from which all is well."""
    outcomes = recovery.outcomes
    bad = [
        each.due - recovery.begun
        for each in outcomes
        if not each.ok or each.seconds > BACK * usual
    ]
    # One slow request in a hundred is what a p99 lets pass.
    allowed = len(outcomes) // 100
    late = sorted(bad)[: len(bad) - allowed]
    result.add("recovery_p99_limit_ms", 1e3 * BACK * usual, "ms")
    result.add(
        "recovery_seconds",
        max(0.0, late[-1]) if late else 0.0,
        "s",
        at_most=RECOVERY_SECONDS,
    )


def _milliseconds(seconds):
    return None if seconds is None else 1e3 * seconds
