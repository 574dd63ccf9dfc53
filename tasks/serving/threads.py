"""Threads for calls that block, some of which may never return."""

import asyncio
import contextlib
import queue
import threading
from collections import abc
from typing import Any


class ThreadPool:
    """A bounded pool of daemon threads, called from one asyncio loop.

    Threads of `concurrent.futures` are joined at exit, so one that hangs in a
    store would keep the process from ending. Daemon threads do not.

    Args:
        name: prefix of the threads' names.
        max_threads: threads are started when they are needed, up to this many.

    Attributes:
        stuck: abandoned calls that still hold their threads.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._num_threads = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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
        job = _Job(asyncio.get_running_loop(), function, args)
        if self._num_threads < self._max_threads:
            self._num_threads += 1
            threading.Thread(
                target=_work,
                args=(self._jobs,),
                name=f"{self._name}-{self._num_threads}",
                daemon=True,
            ).start()
        self._jobs.put(job)
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        finally:
            if not job.future.done() or job.future.cancelled():
                self._abandon(job)

    def close(self) -> None:
        """Lets the threads end once they have finished the calls they got."""
        for _ in range(self._num_threads):
            self._jobs.put(None)

    def _abandon(self, job: "_Job") -> None:
        if job.claim("caller"):
            return
        self.stuck += 1
        job.when_ended(self._unstick)

    def _unstick(self) -> None:
        self.stuck -= 1


class _Job:
    """A call that either a thread starts or its caller takes back."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: abc.Callable[..., Any],
        args: tuple,
    ) -> None:
        self._loop = loop
        self.future: asyncio.Future = loop.create_future()
        self._function = function
        self._args = args
        self._lock = threading.Lock()
        self._owner: str | None = None
        self._has_ended = False
        self._callback: abc.Callable[[], None] | None = None

    def claim(self, owner: str) -> bool:
        """Whether the job belongs to `owner`: the first to claim it has it."""
        with self._lock:
            if self._owner is None:
                self._owner = owner
            return self._owner == owner

    def when_ended(self, callback: abc.Callable[[], None]) -> None:
        """Runs the callback on the loop once the thread is free again."""
        with self._lock:
            self._callback = callback
            has_ended = self._has_ended
        if has_ended:
            callback()

    def run(self) -> None:
        result = error = None
        try:
            result = self._function(*self._args)
        except BaseException as raised:
            error = raised
        with self._lock:
            self._has_ended = True
            callback = self._callback
        # A closed loop raises: nobody waits for the result any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, result, error)
            if callback is not None:
                self._loop.call_soon_threadsafe(callback)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


def _work(jobs: "queue.SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        if job.claim("thread"):
            job.run()
        # Otherwise the result stays in memory until the next job comes.
        del job
