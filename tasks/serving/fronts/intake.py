"""The bytes of requests, in every front: counted, and parsed off the loop."""

import asyncio
import collections
import concurrent.futures
import contextlib
from collections import abc
from typing import TypeVar

from tasks.serving import errors
from tasks.serving.queueing import limits as limits_lib

# Parsing less takes no longer than the way to another thread.
MAX_INLINE_BYTES = 1 << 16
_T = TypeVar("_T")


class Intake:
    """Bounds the bytes of requests in flight, and parses off the loop.

    `reservation` counts an HTTP body part by part. A gRPC message shows up
    only once it is here whole: `reading` bounds how many are on their way,
    each of them as long as one may be.

    Attributes:
        num_bytes: reserved now.
        is_leaving: once set, the fronts report that they are not ready, and go
            on answering.
    """

    is_leaving = False

    def __init__(self, limits: limits_lib.Limits) -> None:
        self.limits = limits
        # JSON is several times as long as the audio in it.
        self._max_bytes = max(2 * limits.queue_bytes, limits.max_request_bytes)
        self.num_bytes = 0
        self._tenant_bytes: collections.Counter[str] = collections.Counter()
        self._share = max(
            limits.tenant_share * self._max_bytes, limits.max_request_bytes
        )
        self._places = _Places(
            self._max_bytes // limits.max_request_bytes, limits
        )
        self._tenant_places: collections.defaultdict[str, _Places] = (
            collections.defaultdict(
                lambda: _Places(
                    int(self._share // limits.max_request_bytes), limits
                )
            )
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(
            limits.parse_threads, "parse"
        )

    @contextlib.contextmanager
    def reservation(
        self, tenant: str
    ) -> abc.Iterator[abc.Callable[[int], None]]:
        """A function that reserves bytes until the context ends.

        It raises `errors.ServingError` with RESOURCE_EXHAUSTED where all
        requests together, or all of the tenant's, would hold too many.
        """
        reserved = 0

        def reserve(num_bytes: int) -> None:
            nonlocal reserved
            if (
                self.num_bytes + num_bytes > self._max_bytes
                or self._tenant_bytes[tenant] + num_bytes > self._share
            ):
                raise errors.resource_exhausted(
                    "too many bytes of requests are being read; try again",
                    retry_after_seconds=1.0,
                )
            reserved += num_bytes
            self.num_bytes += num_bytes
            self._tenant_bytes[tenant] += num_bytes

        try:
            yield reserve
        finally:
            self.num_bytes -= reserved
            self._tenant_bytes[tenant] -= reserved
            if not self._tenant_bytes[tenant]:
                del self._tenant_bytes[tenant]

    @contextlib.asynccontextmanager
    async def reading(self, tenant: str) -> abc.AsyncIterator[None]:
        """A place to read a message of unknown length; waits for one.

        The tenant's own places come first, so that one tenant's senders keep
        no other waiting. Where others wait, slow senders are cut off early.

        Raises:
            TimeoutError: this sender was cut off.
            errors.ServingError: RESOURCE_EXHAUSTED, too many are waiting.
        """
        async with self._tenant_places[tenant].hold(), self._places.hold():
            yield

    async def parse(
        self,
        num_bytes: int | None,
        function: abc.Callable[..., _T],
        *arguments: object,
    ) -> _T:
        """`function(*arguments)`, in a thread if it goes through many bytes.

        Args:
            num_bytes: None if nobody knows yet, as before a body is inflated;
                the function then runs in a thread.
        """
        if num_bytes is not None and num_bytes <= MAX_INLINE_BYTES:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    def close(self) -> None:
        """Ends the threads after what they are parsing."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Places:
    """A fixed number of places; holders must hurry once others wait."""

    def __init__(self, count: int, limits: limits_lib.Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(count)
        self._waiting = 0
        # When each holder came, by its timeout.
        self._held: dict[asyncio.Timeout, float] = {}

    @contextlib.asynccontextmanager
    async def hold(self) -> abc.AsyncIterator[None]:
        if self._waiting >= self._limits.waiting_messages:
            raise errors.resource_exhausted(
                "too many requests wait to be read; try again",
                retry_after_seconds=1.0,
            )
        clock = asyncio.get_running_loop().time
        crowded = self._limits.crowded_seconds
        if self._free.locked():
            for timeout, since in self._held.items():
                if not timeout.expired():
                    timeout.reschedule(max(clock(), since + crowded))
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            seconds = crowded if self._waiting else None
            async with asyncio.timeout(seconds) as timeout:
                self._held[timeout] = clock()
                try:
                    yield
                finally:
                    del self._held[timeout]
        finally:
            self._free.release()
