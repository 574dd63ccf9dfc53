"""More than a server can do: exact limits, deadlines, honest refusals."""

import asyncio

import pytest

from tasks.serving import errors, messages
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

CALLER = fake_source.CALLER
ask = fake_source.ask
refusal = fake_source.refusal
num_queued = fake_source.num_queued
text = fake_source.text
utterance = fake_source.utterance


def test_the_queues_limit_is_exact(source):
    limits = fake_source.changed(queue_requests=6)

    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(mark, "ann")))
                for mark in range(6)
            ]
            await waiting.until(lambda: num_queued(running) == 6)
            started = asyncio.get_running_loop().time()
            error = await refusal(ask(running, utterance(9, "ann")))
            assert asyncio.get_running_loop().time() - started < 10
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            assert error.retry_after_seconds > 0
            tasks[5].cancel()
            await asyncio.wait({tasks[5]})
            # One went, so exactly one may come.
            tasks[5] = asyncio.create_task(ask(running, utterance(5, "bob")))
            await waiting.until(lambda: num_queued(running) == 6)
            await refusal(ask(running, utterance(9)))
            engine.may_run.set()
            answers = await asyncio.gather(*tasks)
            assert [each.text for [each] in answers] == [
                *(text(mark, 1) for mark in range(5)),
                text(5, 2),
            ]
            await ask(running, *(utterance(1) for _ in range(6)))
            error = await refusal(
                ask(running, *(utterance(1) for _ in range(7)))
            )
            assert error.retry_after_seconds is None

    asyncio.run(main())


def test_a_tenant_fills_no_more_than_its_share_of_the_queue(source):
    limits = fake_source.changed(queue_requests=8, tenant_share=0.5)
    other = messages.Caller("other")

    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(1)))
                for _ in range(4)
            ]
            await waiting.until(lambda: num_queued(running) == 4)
            error = await refusal(ask(running, utterance(1)))
            assert "share" in error.message
            tasks.append(
                asyncio.create_task(ask(running, utterance(2), caller=other))
            )
            await waiting.until(lambda: num_queued(running) == 5)
            engine.may_run.set()
            assert len(await asyncio.gather(*tasks)) == 5

    asyncio.run(main())


def test_a_request_too_late_is_dropped_and_never_reaches_the_engine(source):
    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine) as running:
            engine.may_run.clear()
            first = asyncio.create_task(ask(running, utterance(1, "ann")))
            await waiting.until(engine.entered.is_set)
            now = asyncio.get_running_loop().time()
            for deadline in (now - 1.0, now + 0.05):
                error = await refusal(
                    ask(running, utterance(2, "ann"), deadline=deadline)
                )
                assert error.code is errors.Code.DEADLINE_EXCEEDED
            cancelled = asyncio.create_task(ask(running, utterance(3, "ann")))
            await waiting.until(lambda: num_queued(running) == 2)
            cancelled.cancel()
            await asyncio.wait({cancelled})
            engine.may_run.set()
            await first
            await ask(running, utterance(4, "ann"))
            assert running.loaded(CALLER)[0].in_use == 0
        marks = [mark for _, _, marks in engine.calls for mark in marks]
        assert marks == [1, 4]

    asyncio.run(main())


def test_a_request_that_would_wait_beyond_its_deadline_is_refused(source):
    async def main():
        engine = fake_engine.FakeEngine(delay_seconds=0.05)
        limits = fake_source.changed(batch_size=1)
        async with fake_source.serving(source, engine, limits) as running:
            clock = asyncio.get_running_loop().time
            started = clock()
            await ask(running, utterance(1))
            seconds = clock() - started
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(1)))
                for _ in range(5)
            ]
            await waiting.until(lambda: len(engine.calls) == 2)
            error = await refusal(
                ask(running, utterance(2), deadline=clock() + 0.1)
            )
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            # Five go before it, each as long as the engine took for one.
            assert 0.2 < error.retry_after_seconds < 5 * seconds
            engine.may_run.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_there_is_no_room_where_every_model_keeps_one_waiting(source):
    engine = fake_engine.FakeEngine()
    limits = fake_source.changed(queue_seconds=0.01, batch_size=1)
    other = messages.Caller("other")

    async def main():
        async with fake_source.serving(source, engine, limits) as running:
            running.check_room(CALLER)
            engine.delay_seconds = 0.2
            await ask(running, utterance(1))
            engine.may_run.clear()
            engine.entered.clear()
            served = asyncio.create_task(ask(running, utterance(2)))
            await waiting.until(engine.entered.is_set)
            waits = asyncio.create_task(ask(running, utterance(3)))
            await waiting.until(lambda: num_queued(running) == 2)
            with pytest.raises(errors.ServingError) as caught:
                running.check_room(CALLER)
            assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
            assert caught.value.retry_after_seconds > 0
            # Fair to tenants: its first is before the other's second.
            running.check_room(other)
            engine.may_run.set()
            await asyncio.gather(served, waits)
            running.check_room(CALLER)

    asyncio.run(main())
