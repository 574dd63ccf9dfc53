"""Item 7: SIGTERM under load: who was let in is answered, and then it ends."""

import asyncio
import collections
import itertools
import json
import random
import signal
import time

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 2.0
SCALE = 1e-3
USERS = 16
IN_FLIGHT = 48
# A request sent so long before the signal has reached the server.
ARRIVED_SECONDS = 0.25
# The second signal's server has a queue of several seconds.
AT_ONCE_SECONDS = 2.0
# What a server that ends says to those whom it does not let in, or gRPC where
# nobody listens any more.
REFUSALS = ("the server is starting or closing", "failed to connect")


def run(bench):
    """Ends servers in the middle of their work, as often as asked."""
    drains = bench.arguments.drains
    clips = speech.cut(bench.speakers, SECONDS, USERS)
    store = users.publish(
        bench.folder("lifecycle_store"), bench.description, USERS, SCALE
    )
    result = results.Result(
        "lifecycle",
        f"{drains} times SIGTERM at a random moment with {IN_FLIGHT} requests "
        f"of {SECONDS:g} s under way, then twice SIGTERM",
    )
    source = itertools.cycle(
        [
            (requests.predict(clip, users.name(number)), None)
            for number, clip in enumerate(clips)
        ]
    )
    draw = random.Random(11)
    found = collections.Counter()
    drained, refusals = [], collections.Counter()
    for number in range(drains):
        log = bench.fresh_folder("lifecycle_log") + f"/{number}.jsonl"
        with bench.serve(store.root, access_log=log) as server:
            outcomes, at, took, status = asyncio.run(
                _end(server, source, draw.uniform(1.0, 3.0), 1)
            )
        found["unclean"] += status != 0
        drained.append(took)
        _account(found, refusals, outcomes, at, _codes(log))
    with bench.serve(store.root) as server:
        _, _, took, status = asyncio.run(_end(server, source, 2.0, 2))
    result.add("drained_requests", found["under way"], at_least=1)
    result.add("lost", found["lost"], "requests", at_most=0)
    result.add("answers_sent_but_not_received", found["unreceived"], at_most=0)
    result.add("never_taken_but_not_refused", found["cut off"], "requests")
    result.add("unclean_exits", found["unclean"], "processes", at_most=0)
    result.add("drain_seconds_most", max(drained), "s")
    result.add("second_signal_seconds", took, "s", at_most=AT_ONCE_SECONDS)
    for text, count in sorted(refusals.items()):
        result.note(f"{count} refused: {text}")
    return result


def _account(found, refusals, outcomes, at, logged):
    """Counts what became of the requests of one server.

    Args:
        found, refusals: `Counter`s, which grow.
        at: float, when the signal was sent.
        logged: `Counter` of the codes in the server's access log.
    """
    for each in outcomes:
        may_be_ending = each.due > at - ARRIVED_SECONDS
        if each.ok:
            found["under way"] += each.due < at <= each.ended
            continue
        refusals[f"{each.code}: {each.details[:60]}"] += 1
        if each.code == "CANCELLED" and may_be_ending:
            # What is on its way while gRPC closes, no handler ever sees.
            found["cut off"] += 1
        else:
            found["lost"] += not _is_refusal(each, may_be_ending)
    # Unless one did: then the server had taken it.
    found["lost"] += logged["CANCELLED"]
    found["cut off"] -= logged["CANCELLED"]
    answered = sum(each.ok for each in outcomes)
    found["unreceived"] += abs(answered - logged["OK"])


async def _end(server, source, after, signals):
    """Sends SIGTERM under load.

    Returns:
        outcomes, when the signal was sent, how long the server then took to
        end, and its exit status.
    """
    async with server.client() as client:
        warm = await load.warm_up(client, source)
        stop = asyncio.Event()
        running = asyncio.create_task(
            load.closed_loop(client, source, IN_FLIGHT, stop=stop)
        )
        await asyncio.sleep(after)
        for number in range(signals):
            await asyncio.sleep(0.3 * number)
            at = time.monotonic()
            server.signal(signal.SIGTERM)
        status = await asyncio.to_thread(server.wait, 60.0)
        took = time.monotonic() - at
        # Whoever comes now finds nobody.
        await asyncio.sleep(0.2)
        stop.set()
        return warm + await running, at, took, status


def _is_refusal(outcome, may_be_draining):
    """Whether the server never took the request, and said so."""
    if outcome.code == "RESOURCE_EXHAUSTED":
        return True
    return (
        may_be_draining
        and outcome.code == "UNAVAILABLE"
        and any(word in outcome.details.lower() for word in REFUSALS)
    )


def _codes(log):
    """A `Counter` of how predictions ended, by the server's access log."""
    with open(log, encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    return collections.Counter(
        entry["code"]
        for entry in entries
        if entry["method"].endswith("/Predict")
    )
