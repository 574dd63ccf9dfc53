"""Threads that may hang: bounded, counted, and given back."""

import asyncio
import threading
import time

import pytest

from tasks.serving import threads
from tests import waiting


class Hang:
    """A function that goes on till it may end."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        self.may_end.wait(60)


def test_a_call_gives_its_result_or_its_error():
    async def main():
        pool = threads.ThreadPool("test", 2)
        assert await pool.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.call(divmod, 7, 0)

    asyncio.run(main())


def test_calls_that_hang_are_given_up_and_then_refused_at_once():
    async def main():
        pool = threads.ThreadPool("test", 2)
        hang = Hang()

        async def all_hang():
            outcomes = await asyncio.gather(
                *(pool.call(hang, seconds=0.1) for _ in range(5)),
                return_exceptions=True,
            )
            assert all(isinstance(each, TimeoutError) for each in outcomes)
            # A thread that had not begun yet is none that hangs.
            return pool.stuck == 2

        await waiting.until(all_hang)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await pool.call(hang, seconds=60)
        assert time.monotonic() - started < 10
        hang.may_end.set()
        await waiting.until(lambda: pool.stuck == 0)
        # Those that no thread had begun were never called.
        assert await pool.call(divmod, 7, 2, seconds=60) == (3, 1)

    asyncio.run(main())


def test_there_are_never_more_threads_and_they_end():
    def alive():
        return sum(
            thread.name.startswith("counted-")
            for thread in threading.enumerate()
        )

    async def main():
        pool = threads.ThreadPool("counted", 3)
        for _ in range(20):
            await asyncio.gather(*(pool.call(divmod, 7, 2) for _ in range(9)))
        assert alive() == 3
        pool.close()
        await waiting.until(lambda: alive() == 0)

    asyncio.run(main())


def test_a_cancelled_call_that_runs_holds_its_thread_till_it_ends():
    async def main():
        pool = threads.ThreadPool("test", 1)
        hang = Hang()
        task = asyncio.create_task(pool.call(hang))
        await waiting.until(hang.begun.is_set)
        task.cancel()
        await waiting.until(lambda: pool.stuck == 1)
        hang.may_end.set()
        await waiting.until(lambda: pool.stuck == 0)

    asyncio.run(main())


def test_a_call_without_a_limit_waits_for_threads_that_come_back():
    async def main():
        pool = threads.ThreadPool("test", 1)
        hang = Hang()
        given_up = asyncio.create_task(pool.call(hang))
        await waiting.until(hang.begun.is_set)
        given_up.cancel()
        await waiting.until(lambda: pool.stuck == 1)
        task = asyncio.create_task(pool.call(divmod, 7, 2))
        await waiting.for_others()
        assert not task.done()
        hang.may_end.set()
        assert await task == (3, 1)

    asyncio.run(main())
