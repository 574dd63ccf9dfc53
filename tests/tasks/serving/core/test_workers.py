"""Threads that may hang: bounded, counted, and given back."""

import asyncio
import threading
import time

import pytest

from tasks.serving.core import workers


def test_a_call_gives_its_result_or_its_error():
    async def main():
        pool = workers.Workers("test", 2)
        assert await pool.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.call(divmod, 7, 0)

    asyncio.run(main())


def test_calls_that_hang_are_given_up_and_then_refused_at_once():
    async def main():
        pool = workers.Workers("test", 2)
        event = threading.Event()
        outcomes = await asyncio.gather(
            *(pool.call(event.wait, 20, seconds=0.1) for _ in range(5)),
            return_exceptions=True,
        )
        assert all(isinstance(each, TimeoutError) for each in outcomes)
        assert pool.stuck == 2
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await pool.call(event.wait, 20, seconds=5)
        assert time.monotonic() - started < 0.1
        event.set()
        await asyncio.sleep(0.05)
        assert pool.stuck == 0
        # Those that no thread had begun were never called.
        assert await pool.call(divmod, 7, 2, seconds=1) == (3, 1)

    asyncio.run(main())


def test_there_are_never_more_threads_and_they_end():
    def alive():
        return sum(
            thread.name.startswith("counted-")
            for thread in threading.enumerate()
        )

    async def main():
        pool = workers.Workers("counted", 3)
        for _ in range(20):
            await asyncio.gather(*(pool.call(divmod, 7, 2) for _ in range(9)))
        assert alive() == 3
        pool.close()
        ends_at = time.monotonic() + 20
        while alive() and time.monotonic() < ends_at:
            await asyncio.sleep(0.01)
        assert alive() == 0

    asyncio.run(main())


def test_a_cancelled_call_that_runs_holds_its_thread_till_it_ends():
    async def main():
        pool = workers.Workers("test", 1)
        event = threading.Event()
        task = asyncio.create_task(pool.call(event.wait, 20))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        assert pool.stuck == 1
        event.set()
        await asyncio.sleep(0.05)
        assert pool.stuck == 0

    asyncio.run(main())


def test_a_call_without_a_limit_waits_for_threads_that_come_back():
    async def main():
        pool = workers.Workers("test", 1)
        event = threading.Event()
        given_up = asyncio.create_task(pool.call(event.wait, 20))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.sleep(0.05)
        assert pool.stuck == 1
        waiting = asyncio.create_task(pool.call(divmod, 7, 2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        event.set()
        assert await waiting == (3, 1)

    asyncio.run(main())
