"""Nobody gets another user's Submodel or a mixed one, whatever goes on."""

import asyncio
import contextlib
import random

import hypothesis
import pytest
from hypothesis import strategies

from tasks.serving import errors, messages
from tasks.serving.submodels import cache
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

SPEAKERS = [f"u{number}" for number in range(9)]


async def run_traffic(seed, num_requests):
    """Mixed requests beside publishing, erasing, unloading and evicting.

    Returns:
        (wrong answers, right answers, refusals).
    """
    chance = random.Random(seed)
    source = fake_source.FakeSource()
    values = {}

    def publish(speaker):
        value = 1 + len(values)
        version = source.publish(speaker, value)
        values[speaker, version.name] = value

    for speaker in SPEAKERS:
        publish(speaker)
    counts = {"wrong": 0, "right": 0, "refused": 0, "changes": 0}

    async def client(running):
        for _ in range(num_requests // 4):
            chosen = [
                (chance.choice(SPEAKERS), chance.randrange(100), length)
                for length in chance.choices((10, 10, 150), k=2)
            ]
            # Some give up in the middle of something.
            deadline = None
            if chance.random() < 0.2:
                deadline = asyncio.get_running_loop().time()
                deadline += chance.random() * 0.005
            try:
                _, answers = await running.predict(
                    fake_source.CALLER,
                    fake_source.SPEC,
                    [
                        fake_source.utterance(mark, speaker, length)
                        for speaker, mark, length in chosen
                    ],
                    deadline,
                )
            except errors.ServingError as error:
                # Erased just now, every row in use, or given up.
                assert error.code in (
                    errors.Code.NOT_FOUND,
                    errors.Code.RESOURCE_EXHAUSTED,
                    errors.Code.DEADLINE_EXCEEDED,
                )
                counts["refused"] += 1
                continue
            for (speaker, mark, length), answer in zip(
                chosen, answers, strict=True
            ):
                value = values[speaker, answer.submodel_version]
                right = fake_source.text(mark, value, length)
                counts["right" if answer.text == right else "wrong"] += 1

    async def change(running):
        while True:
            await asyncio.sleep(0.001)
            speaker = chance.choice(SPEAKERS)
            what = chance.randrange(4)
            counts["changes"] += 1
            if what == 0:
                await running.unload(fake_source.CALLER, speaker)
            elif what == 1:
                source.erase(speaker)
                publish(speaker)
            else:
                publish(speaker)

    limits = fake_source.changed(
        row_cache_bytes=8 * 24,
        file_cache_bytes=60,
        resolve_seconds=0.002,
        engine_calls=2,
    )
    engine = fake_engine.FakeEngine(delay_seconds=0.001)
    async with fake_source.serving(source, engine, limits) as running:
        changes = asyncio.create_task(change(running))
        await asyncio.gather(*(client(running) for _ in range(4)))
        changes.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await changes
        # They went on to the end.
        assert counts["changes"] > 10
        await waiting.until(lambda: not in_use(running))
    return counts["wrong"], counts["right"], counts["refused"]


@hypothesis.settings(max_examples=5, derandomize=True)
@hypothesis.given(strategies.integers(0, 1 << 30))
def test_every_answer_is_by_the_version_that_it_names(seed):
    wrong, right, _ = asyncio.run(run_traffic(seed, 200))
    assert wrong == 0
    assert right > 100


def test_the_count_of_holders_is_what_keeps_answers_apart(monkeypatch):
    monkeypatch.setattr(cache.RowCache, "_is_free", lambda self, entry: True)
    wrong, _, _ = asyncio.run(run_traffic(0, 400))
    assert wrong > 0


@pytest.mark.parametrize("is_counted", [True, False])
def test_a_row_that_waits_for_the_engine_is_not_written_over(
    monkeypatch, is_counted
):
    if not is_counted:
        monkeypatch.setattr(cache.RowCache, "_is_free", lambda self, row: True)
    source = fake_source.FakeSource()
    for number, speaker in enumerate(SPEAKERS):
        source.publish(speaker, 1 + number)

    async def main():
        engine = fake_engine.FakeEngine()
        # Two rows: that of a request, and one that others take turns in.
        limits = fake_source.changed(batch_size=1, row_cache_bytes=2 * 24)
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            ahead = asyncio.create_task(ask(running))
            await waiting.until(engine.entered.is_set)
            waits = asyncio.create_task(ask(running, SPEAKERS[0]))
            await waiting.until(lambda: in_use(running))
            for speaker in SPEAKERS[1:]:
                await running.load(fake_source.CALLER, speaker)
            engine.may_run.set()
            await ahead
            return await waits

    is_right = asyncio.run(main()) == fake_source.text(1, 1)
    assert is_right == is_counted


def test_a_row_stays_whole_until_the_last_utterance_of_its_request():
    source = fake_source.FakeSource()
    for number, speaker in enumerate(SPEAKERS):
        source.publish(speaker, 1 + number)

    class Halting(fake_engine.FakeEngine):
        """Halts at an utterance of mark 8, until it `may_run`."""

        def transcribe(self, audio, *others):
            if audio[0, 0] == 8:
                self.may_run.clear()
            return super().transcribe(audio, *others)

    async def main():
        engine = Halting()
        limits = fake_source.changed(batch_size=1, row_cache_bytes=2 * 24)
        async with fake_source.serving(source, engine, limits) as running:
            request = asyncio.create_task(
                fake_source.ask(
                    running,
                    fake_source.utterance(1, SPEAKERS[0]),
                    fake_source.utterance(8),
                    fake_source.utterance(2, SPEAKERS[0]),
                )
            )
            # The first utterance is answered and the third still waits.
            await waiting.until(lambda: len(engine.calls) == 2)
            await waiting.for_others()
            for speaker in SPEAKERS[1:]:
                await running.load(fake_source.CALLER, speaker)
            engine.may_run.set()
            return [each.text for each in await request]

    assert asyncio.run(main()) == [
        fake_source.text(1, 1),
        fake_source.text(8, 0),
        fake_source.text(2, 1),
    ]


def in_use(running):
    """How often rows are held."""
    return sum(each.in_use for each in running.loaded(fake_source.CALLER))


async def ask(running, speaker=None):
    _, [answer] = await running.predict(
        messages.Caller("acme"),
        fake_source.SPEC,
        [fake_source.utterance(1, speaker)],
    )
    return answer.text
