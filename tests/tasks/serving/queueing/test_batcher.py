"""From queued utterances to calls of the engine and back."""

import asyncio
import time

import numpy as np
import pytest

from tasks.serving import errors, metrics
from tasks.serving.queueing import batcher, fair_queues
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source


class Setting:
    """A batcher on an engine, and what became of its items.

    Attributes:
        ahead: float, seconds that the batcher's clock is ahead.
    """

    def __init__(self, engine=None, **changes):
        self.ahead = 0.0
        self.engine = engine or fake_engine.FakeEngine()
        self.ended = []
        self._vectors = [fake_source.vector(value) for value in range(2)]
        self.metrics = metrics.Metrics()
        self.batcher = batcher.Batcher(
            "asr",
            self.engine,
            fake_source.changed(**changes),
            self.metrics,
            lambda: time.monotonic() + self.ahead,
        )

    def item(self, mark, value=1, samples=10, seconds=3600.0, tenant="acme"):
        return fair_queues.QueuedUtterance(
            tenant=tenant,
            audio=np.full(samples, mark, np.float32),
            vector=self._vectors[value],
            deadline=time.monotonic() + seconds,
            on_end=lambda: self.ended.append(mark),
            future=asyncio.get_running_loop().create_future(),
        )

    def add(self, *arguments, **keywords):
        item = self.item(*arguments, **keywords)
        self.batcher.add(item)
        return item


def run(main, engine=None, **changes):
    async def guarded():
        setting = Setting(engine, **changes)
        try:
            async with asyncio.timeout(60):
                await main(setting)
        finally:
            setting.engine.may_run.set()
            await setting.batcher.close()

    asyncio.run(guarded())


def test_simultaneous_utterances_make_one_batch():
    async def main(setting):
        items = [setting.add(mark, value=mark % 2) for mark in range(4)]
        texts = [(await item.future)[0] for item in items]
        assert texts == [fake_source.text(mark, mark % 2) for mark in range(4)]
        assert [call[:2] for call in setting.engine.calls] == [
            ((4, 100), (2, 6))
        ]
        assert sorted(setting.ended) == [0, 1, 2, 3]

    # Which a full batch does not wait for.
    run(main, batch_delay_seconds=20.0)


def test_what_comes_while_the_engine_is_busy_goes_together():
    async def main(setting):
        setting.engine.may_run.clear()
        items = [setting.add(0)]
        await waiting.until(setting.engine.entered.is_set)
        items += [setting.add(mark) for mark in range(1, 7)]
        setting.engine.may_run.set()
        await asyncio.gather(*(item.future for item in items))
        sizes = [shape[0] for shape, _, _ in setting.engine.calls]
        assert sizes == [1, 4, 2]

    run(main)


def test_a_lone_utterance_does_not_wait_for_others():
    async def main(setting):
        # Of the engine's batch of four, nobody else ever comes.
        await setting.add(1).future
        assert [shape[0] for shape, _, _ in setting.engine.calls] == [1]

    run(main)


def test_every_batch_has_the_width_of_its_bucket():
    async def main(setting):
        for samples in (1, 99, 100, 101, 400):
            text = (await setting.add(1, samples=samples).future)[0]
            assert text == fake_source.text(1, 1, samples)
        widths = [shape[1] for shape, _, _ in setting.engine.calls]
        assert widths == [100, 100, 100, 400, 400]
        assert setting.batcher.num_shapes == 2

    run(main)


def test_several_calls_run_at_the_same_time_where_they_may():
    async def main(setting):
        setting.engine.may_run.clear()
        items = [setting.add(mark) for mark in range(2)]
        await waiting.until(lambda: len(setting.engine.calls) == 2)
        setting.engine.may_run.set()
        await asyncio.gather(*(item.future for item in items))

    run(main, engine_calls=2, batch_size=1)


def test_expired_utterances_are_dropped_as_the_batch_is_formed():
    async def main(setting):
        setting.engine.may_run.clear()
        first = setting.add(1)
        await waiting.until(setting.engine.entered.is_set)
        late = setting.add(2, seconds=60)
        good = setting.add(3)
        setting.ahead = 100
        setting.engine.may_run.set()
        await first.future
        outcome = await late.future
        assert outcome.code is errors.Code.DEADLINE_EXCEEDED
        assert (await good.future)[0] == fake_source.text(3, 1)
        marks = [marks for _, _, marks in setting.engine.calls]
        assert marks == [[1], [3]]

    run(main)


def test_what_is_taken_back_never_reaches_the_engine():
    async def main(setting):
        setting.engine.may_run.clear()
        first = setting.add(1)
        await waiting.until(setting.engine.entered.is_set)
        second = setting.add(2)
        setting.batcher.discard(second)
        setting.batcher.discard(second)
        assert setting.ended == [2]
        # The engine still reads this one.
        setting.batcher.discard(first)
        assert setting.ended == [2]
        setting.engine.may_run.set()
        await first.future
        assert setting.ended == [2, 1]

    run(main)


@pytest.mark.parametrize("culprits", [{0.0}, {2.0, 3.0}, {0.0, 1.0, 2.0, 3.0}])
def test_a_failing_batch_is_halved_until_the_culprits_are_alone(culprits):
    engine = fake_engine.FakeEngine(failing=culprits)

    async def main(setting):
        items = [setting.add(mark) for mark in range(4)]
        for mark, item in enumerate(items):
            outcome = await item.future
            if mark in culprits:
                assert outcome.code is errors.Code.INTERNAL
            else:
                assert outcome[0] == fake_source.text(mark, 1)
        assert sorted(setting.ended) == [0, 1, 2, 3]
        items = [setting.add(mark) for mark in range(6, 10)]
        texts = [(await item.future)[0] for item in items]
        assert texts == [fake_source.text(mark, 1) for mark in range(6, 10)]

    # Which a full batch does not wait for.
    run(main, engine, batch_delay_seconds=20.0)


def test_what_expires_while_a_batch_is_halved_is_not_tried_again():
    engine = fake_engine.FakeEngine(failing={0.0})

    async def main(setting):
        setting.engine.may_run.clear()
        setting.add(0)
        late = setting.add(1, seconds=60)
        good = setting.add(2)
        await waiting.until(setting.engine.entered.is_set)
        setting.ahead = 100
        setting.engine.may_run.set()
        outcome = await late.future
        assert outcome.code is errors.Code.DEADLINE_EXCEEDED
        assert (await good.future)[0] == fake_source.text(2, 1)
        marks = [marks for _, _, marks in setting.engine.calls]
        assert marks == [[0, 1, 2], [0], [2]]

    # Which a full batch does not wait for.
    run(main, engine, batch_size=3, batch_delay_seconds=20.0)


def test_an_engine_that_answers_too_little_fails_loudly():
    class Forgetful(fake_engine.FakeEngine):
        def transcribe(self, *arrays):
            whole = super().transcribe(*arrays)
            return type(whole)(whole.text[1:], whole.score[1:], [])

    async def main(setting):
        outcome = await setting.add(1).future
        assert outcome.code is errors.Code.INTERNAL

    run(main, Forgetful())


def test_closing_fails_what_waits_and_finishes_what_runs():
    async def main(setting):
        setting.engine.may_run.clear()
        running = setting.add(1)
        await waiting.until(setting.engine.entered.is_set)
        waits = setting.add(2)
        closing = asyncio.create_task(setting.batcher.close())
        outcome = await waits.future
        assert outcome.code is errors.Code.UNAVAILABLE
        await waiting.for_others()
        assert not closing.done()
        setting.engine.may_run.set()
        assert (await running.future)[0] == fake_source.text(1, 1)
        await closing
        late = setting.item(3)
        with pytest.raises(errors.ServingError):
            setting.batcher.add(late)
        assert setting.ended == [2, 1, 3]

    run(main)


def test_the_expected_wait_is_that_of_what_goes_before():
    async def main(setting):
        transcribe = setting.engine.transcribe

        def take_minutes(*arrays):
            # Beside which what the machine takes does not count.
            setting.ahead += 100
            return transcribe(*arrays)

        setting.engine.transcribe = take_minutes
        assert setting.batcher.expected_wait("acme") == 0
        await setting.add(1).future
        setting.engine.may_run.clear()
        items = [setting.add(mark) for mark in range(6)]
        await waiting.until(lambda: len(setting.engine.calls) == 2)
        # Five wait and one runs.
        assert 600 <= setting.batcher.expected_wait("acme") < 1000
        assert setting.batcher.expected_wait("other") < 400
        setting.engine.may_run.set()
        await asyncio.gather(*(item.future for item in items))
        assert setting.batcher.expected_wait("acme") == 0

    run(main, batch_size=1)
