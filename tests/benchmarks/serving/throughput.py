"""Item 1: mixed batches against the base, the server against no server."""

import asyncio
import itertools
import statistics

import numpy as np

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 5.0
BATCH = 16
# Small, so that every user's text, and with it the decoder's work, is about
# the base's; what is compared is the cost of mixing.
SCALE = 1e-3


def run(bench):
    """Takes turns: server and direct, base and 16 users, round by round."""
    rounds = bench.arguments.rounds
    per_turn = BATCH * max(1, round(bench.arguments.seconds / 4))
    result = results.Result(
        "throughput",
        f"{rounds} rounds of turns, {per_turn} utterances of {SECONDS:g} s "
        f"each, batches of {BATCH}",
    )
    clips = speech.cut(bench.speakers, SECONDS, BATCH)
    store = users.publish(
        bench.folder("throughput_store"), bench.description, 4 * BATCH, SCALE
    )
    # Nothing is to be refused, however busy the machine is.
    limits = {"queue_seconds": 60}
    with (
        bench.direct() as direct,
        bench.serve(store.root, **limits) as server,
    ):
        _prepare(direct, bench.description, clips)
        texts = [
            [text for text, _, _ in direct.answers(name)]
            for name in ("base", "mixed")
        ]
        rates = asyncio.run(_turns(direct, server, clips, rounds, per_turn))
        batch = server.metrics().mean("submodels_batch_size")
    _describe(result, rates, batch)
    same = sum(a == b for a, b in zip(*texts, strict=True))
    result.add("texts_as_the_base", same / BATCH, "of the users'")
    return result


def _prepare(direct, description, clips):
    common = {
        "audio": np.stack(clips),
        "length": np.full(BATCH, len(clips[0]), np.int32),
    }
    direct.prepare("base", "base", common)
    rows = [users.vector(description, [n, 0], SCALE) for n in range(BATCH)]
    direct.prepare(
        "mixed",
        "grouped",
        {
            **common,
            "submodels": np.stack(rows),
            "index": np.arange(BATCH, dtype=np.int32),
        },
    )


async def _turns(direct, server, clips, rounds, per_turn):
    """Dict of (where, what) to utterances per second, one a round."""
    sources = {
        "base": itertools.cycle([(requests.predict(c), None) for c in clips]),
        # Any 16 in a row are 16 users.
        "mixed": itertools.cycle(
            [
                (requests.predict(clips[n % BATCH], users.name(n)), None)
                for n in range(4 * BATCH)
            ]
        ),
    }
    rates = {}
    async with server.client() as client:

        async def serve(what, count):
            # Enough at each end that the counted ones run at full load.
            outcomes = await load.closed_loop(
                client, sources[what], 2 * BATCH, count=count + 3 * BATCH
            )
            load.check(outcomes)
            return load.steady_rate(outcomes, BATCH, count)

        async def call(what, count):
            # Idle meanwhile: nothing else is to run.
            seconds = direct.seconds(what, count // BATCH)
            return count / seconds

        turns = [
            (where, what, function)
            for what in ("base", "mixed")
            for where, function in (("server", serve), ("direct", call))
        ]
        for _, what, function in turns:
            await function(what, BATCH)
        for number in range(rounds):
            # Whoever begins has the machine as the one before left it.
            for where, what, function in turns[:: 1 if number % 2 else -1]:
                found = await function(what, per_turn)
                results.progress(f"{where} {what}: {found:.2f}/s")
                rates.setdefault((where, what), []).append(found)
    return rates


def _describe(result, rates, batch):
    for (where, what), found in sorted(rates.items()):
        result.add(
            f"{where}_{what}_per_second",
            statistics.median(found),
            "utterances/s",
        )

    def ratio(above, below):
        return statistics.median(
            a / b for a, b in zip(rates[above], rates[below], strict=True)
        )

    served, called = ("server", "mixed"), ("direct", "mixed")
    base, called_base = ("server", "base"), ("direct", "base")
    result.add("mixed_over_base", ratio(served, base), at_least=0.95)
    result.add("mixed_over_base_direct", ratio(called, called_base))
    result.add("server_over_direct", ratio(served, called), at_least=0.9)
    result.add("server_over_direct_base", ratio(base, called_base))
    result.add("mean_batch_size", batch)
