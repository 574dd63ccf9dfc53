"""Threads for calls that block, some of which may never come back."""

import asyncio
import contextlib
import queue
import threading


class Workers:
    """A bounded pool of daemon threads, called from one asyncio loop.

    Daemons, unlike concurrent.futures' threads: one that hangs in a store must
    not keep the process from ending.

    Args:
        name: string, of the threads.
        threads: int, at most this many, started when needed.
    """

    def __init__(self, name, threads):
        self._name = name
        self._max_threads = threads
        self._threads = 0
        self._waiting = 0
        self._jobs = queue.SimpleQueue()
        # Calls given up on while they ran, which still hold their threads.
        self.stuck = 0

    async def call(self, function, *args, seconds=None):
        """`function(*args)` in a thread.

        Args:
            seconds: float, the longest wait for a thread and the result;
                None for no limit.

        Raises:
            TimeoutError: the time is up, or at once where calls that were
                given up hold all threads.
        """
        # A call without a limit of time is one that ends: it waits its turn.
        if seconds is not None and self.stuck >= self._max_threads:
            raise TimeoutError(f"all threads of {self._name} hang")
        job = _Job(asyncio.get_running_loop(), function, args)
        # More threads than jobs would stay idle for good.
        if self._threads < self._max_threads:
            self._threads += 1
            threading.Thread(
                target=_work,
                args=(self._jobs,),
                name=f"{self._name}-{self._threads}",
                daemon=True,
            ).start()
        self._jobs.put(job)
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        finally:
            if not job.future.done() or job.future.cancelled():
                self._give_up(job)

    def close(self):
        """Lets the threads end once they have done what they were given."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _give_up(self, job):
        if job.claim("caller"):
            return
        self.stuck += 1
        job.when_ended(self._unstick)

    def _unstick(self):
        self.stuck -= 1


class _Job:
    """A call, which either a thread starts or its caller takes back."""

    def __init__(self, loop, function, args):
        self.loop = loop
        self.future = loop.create_future()
        self._function = function
        self._args = args
        self._lock = threading.Lock()
        self._owner = None
        self._ended = False
        self._callback = None

    def claim(self, owner):
        with self._lock:
            if self._owner is None:
                self._owner = owner
            return self._owner == owner

    def when_ended(self, callback):
        """Calls back on the loop once the thread is free again."""
        with self._lock:
            self._callback = callback
            ended = self._ended
        if ended:
            callback()

    def run(self):
        try:
            outcome, error = self._function(*self._args), None
        except BaseException as raised:
            outcome, error = None, raised
        with self._lock:
            self._ended = True
            callback = self._callback
        # The loop may be gone: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, outcome, error)
            if callback is not None:
                self.loop.call_soon_threadsafe(callback)

    def _settle(self, outcome, error):
        if self.future.done():
            return
        if error is None:
            self.future.set_result(outcome)
        else:
            self.future.set_exception(error)


def _work(jobs):
    while (job := jobs.get()) is not None:
        if job.claim("thread"):
            job.run()
        del job  # Else its result lives until the next one comes.
