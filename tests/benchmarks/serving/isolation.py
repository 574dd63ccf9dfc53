"""Item 4: nobody gets an answer of another user's Submodel, or of a mix."""

import asyncio
import contextlib
import random

import numpy as np

from tests.benchmarks.serving import (
    churned_users,
    load,
    requests,
    results,
    speech,
)

USERS = 64
VARIANTS = 4
CLIPS = 3
SECONDS = 0.5
# What a row of a batch may differ from the same request alone, of the score.
TOLERANCE = 1e-5
# Beyond this it is no rounding; any two Submodels should differ by more.
FINGERPRINT = 1e-4
# So large that scores differ by Submodel, and texts are still texts.
SCALE = 0.01
CHANGES_PER_SECOND = 10.0
IN_FLIGHT = 32
# Fewer than there are users, so that rows are evicted all the time, and more
# than can be in use at once.
ROWS = 40


def run(bench):
    """Mixed requests while everything changes; then each answer is checked."""
    count = bench.arguments.requests or 20_000
    in_process = bench.arguments.without_reference_count
    clips = speech.cut(bench.speakers, SECONDS, CLIPS)
    result = results.Result(
        "isolation",
        f"{count} requests of {SECONDS:g} s by {USERS} users with "
        f"{VARIANTS} Submodels each, {ROWS} ready rows, "
        f"{CHANGES_PER_SECOND:g} changes of versions and as many evictions "
        "a second"
        + (", in process, WITHOUT THE REFERENCE COUNT" if in_process else ""),
    )
    churned = churned_users.ChurnedUsers(
        bench.fresh_folder("isolation_store"),
        bench.description,
        USERS,
        VARIANTS,
        SCALE,
        CHANGES_PER_SECOND,
    )
    limits = {
        "row_cache_bytes": ROWS * 4 * bench.description.num_values,
        # Nothing is to be refused, however busy the machine is.
        "queue_seconds": 60,
    }
    with contextlib.ExitStack() as stack:
        if in_process:
            serve = bench.serve_here
            stack.enter_context(_without_reference_count())
        else:
            serve = bench.serve
        server = stack.enter_context(serve(churned.store.root, **limits))
        outcomes = server.run(_ask(server, churned, clips, count))
        evictions = server.metrics().value(
            "submodels_evictions_total", tier="row"
        )
    # Without the count, forgetting a user makes room enough.
    required = None if in_process else 1
    result.add("evictions", int(evictions), at_least=required)
    for kind, number in churned.changes.items():
        result.add(f"changes_{kind}", number)
    with bench.direct() as direct:
        alone = _Alone(direct, churned.vectors, clips)
        _check(result, outcomes, churned, alone)
        _check_fingerprints(result, alone)
    return result


@contextlib.contextmanager
def _without_reference_count():
    """Rows of this process's caches may be written over while in use."""
    from tasks.serving.submodels import cache

    kept = cache.RowCache._is_free
    cache.RowCache._is_free = staticmethod(lambda entry: True)
    try:
        yield
    finally:
        cache.RowCache._is_free = kept


async def _ask(server, churned, clips, count):
    draw = random.Random(7)

    def source():
        while True:
            speaker = draw.choice(churned.names)
            clip = draw.randrange(CLIPS)
            request = requests.predict(clips[clip], speaker)
            yield request, (speaker, clip)

    async def evict(admin):
        while True:
            await asyncio.sleep(1.0 / CHANGES_PER_SECOND)
            await admin.unload(draw.choice(churned.names))

    async with server.client() as client, server.admin() as admin:
        task = asyncio.create_task(evict(admin))
        try:
            await load.warm_up(client, source())
            with churned:
                return await load.closed_loop(
                    client, source(), IN_FLIGHT, count=count
                )
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class _Alone:
    """Each Submodel's answer to each clip alone, by `serving_default`."""

    def __init__(self, direct, vectors, clips):
        self._direct = direct
        self._vectors = vectors
        self._clips = clips
        self.found = {}

    def answer(self, digits, clip):
        """(text, score) of the Submodel with these digits of its SHA-256."""
        if (digits, clip) not in self.found:
            audio = self._clips[clip]
            self._direct.prepare(
                "alone",
                "serving_default",
                {
                    "audio": audio[None],
                    "length": np.array([len(audio)], np.int32),
                    "submodel": self._vectors[digits][None],
                },
            )
            text, score, status = self._direct.answers("alone")[0]
            if status != "OK":
                raise RuntimeError(f"a Submodel alone was refused: {status}")
            self.found[digits, clip] = text, score
        return self.found[digits, clip]


def _check(result, outcomes, churned, alone):
    answered = [outcome for outcome in outcomes if outcome.ok]
    missing = [each for each in outcomes if each.code == "NOT_FOUND"]
    failed = [e for e in outcomes if not e.ok and e.code != "NOT_FOUND"]
    cross_user = stale = beyond = 0
    furthest = 0.0
    for outcome in answered:
        speaker, clip = outcome.tag
        text, score, version, served_by = outcome.answers[0]
        digits = version.partition("-")[2]
        span = speaker, version, outcome.due, outcome.ended
        if served_by != "submodel" or not churned.is_own(speaker, version):
            cross_user += 1
            continue
        expected_text, expected_score = alone.answer(digits, clip)
        difference = abs(score - expected_score)
        if text != expected_text or not difference <= FINGERPRINT:
            cross_user += 1
            continue
        difference /= max(1.0, abs(expected_score))
        beyond += difference > TOLERANCE
        furthest = max(furthest, difference)
        stale += not churned.was_current(*span)
    # A NOT_FOUND must be right too: the user was erased around then.
    wrongly_missing = sum(
        not churned.was_current(each.tag[0], None, each.due, each.ended)
        for each in missing
    )
    result.add("isolation_answers", len(answered), at_least=1)
    result.add("isolation_not_found", len(missing))
    result.add("cross_user", cross_user, "answers", at_most=0)
    result.add("rows_beyond_1e-5_of_alone", beyond, "answers", at_most=0)
    result.add("largest_difference", furthest, "of the score")
    result.add("stale_answers", stale, "answers", at_most=0)
    result.add("wrongly_not_found", wrongly_missing, "requests", at_most=0)
    result.add("isolation_failed", len(failed), "requests", at_most=0)
    if failed:
        result.note(f"first failure: {failed[0].code}: {failed[0].details}")


def _check_fingerprints(result, alone):
    """A check that cannot tell Submodels apart would show nothing."""
    same = pairs = 0
    for clip in range(CLIPS):
        found = sorted(
            answer for (_, each), answer in alone.found.items() if each == clip
        )
        texts = np.array([text for text, _ in found], object)
        scores = np.array([score for _, score in found])
        for place in range(len(found)):
            near = np.abs(scores[place + 1 :] - scores[place]) <= FINGERPRINT
            same += int(np.sum(near & (texts[place + 1 :] == texts[place])))
            pairs += len(found) - place - 1
    result.add("pairs_told_apart", 1.0 - same / max(1, pairs), at_least=0.99)
