"""Threads for calls that block, some of which may never return."""

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections import abc
from typing import Any


class ThreadPool:
    """A bounded pool of daemon threads, called from one asyncio loop.

    The threads of `concurrent.futures` are joined at exit, so one that hangs
    in a store would keep the process from ending. Daemon threads do not.

    Attributes:
        stuck: abandoned calls that still hold their threads.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._num_threads = 0
        self._jobs = queue.SimpleQueue()
        self.stuck = 0

    async def call(
        self,
        function: abc.Callable[..., Any],
        *args: Any,
        seconds: float | None = None,
    ) -> Any:
        """Runs `function(*args)` in a thread and returns its result.

        Args:
            seconds: the longest wait for a free thread and the result together;
                None waits as long as it takes.

        Raises:
            TimeoutError: the time is up; raised at once if abandoned calls
                hold all threads.
        """
        # A call without a time limit is known to end, so it waits its turn.
        if seconds is not None and self.stuck >= self._max_threads:
            raise TimeoutError(f"all threads of {self._name} hang")
        job = concurrent.futures.Future()
        if self._num_threads < self._max_threads:
            self._num_threads += 1
            threading.Thread(
                target=_work,
                args=(self._jobs,),
                name=f"{self._name}-{self._num_threads}",
                daemon=True,
            ).start()
        self._jobs.put((job, function, args))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(job)
        finally:
            # What no thread has begun is cancelled and never runs.
            if not job.done() and not job.cancel():
                self.stuck += 1
                loop = asyncio.get_running_loop()
                job.add_done_callback(lambda _: self._unstick(loop))

    def close(self) -> None:
        """Lets the threads end once they have finished the calls they got."""
        for _ in range(self._num_threads):
            self._jobs.put(None)

    def _unstick(self, loop: asyncio.AbstractEventLoop) -> None:
        def unstick() -> None:
            self.stuck -= 1

        # A closed loop raises: nobody counts any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(unstick)


def _work(jobs: queue.SimpleQueue) -> None:
    while (entry := jobs.get()) is not None:
        job, function, args = entry
        if job.set_running_or_notify_cancel():
            try:
                job.set_result(function(*args))
            except BaseException as error:
                job.set_exception(error)
        # Otherwise the result stays in memory until the next job comes.
        del entry, job, function, args
