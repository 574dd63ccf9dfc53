"""What both fronts do with a request's bytes before anyone looks into them."""

import asyncio
import collections
import concurrent.futures
import contextlib
import zlib

from tasks.serving import errors
from tasks.serving.fronts import tensors

# Parsing less takes no longer than the way to another thread.
MAX_INLINE_BYTES = 1 << 16
THREADS = 2
# How long a message may be on its way while others wait for its place, and
# how many of a tenant may wait.
CROWDED_SECONDS = 2.0
MAX_WAITING = 1024


class Intake:
    """Bounds the bytes of requests in flight, and parses off the loop.

    What comes in parts is counted part by part, by `reservation`. A gRPC
    message is seen only once it is here whole: `reading` bounds how many
    are on their way, each as long as one may be.

    Args:
        limits: `limits.Limits`.
        header_seconds: float, for a request's head, and for an idle
            connection.
        body_seconds: float, for a request's body: who is slower is cut off.

    Attributes:
        is_leaving: bool; set, the fronts tell everyone that they are not
            ready, and go on answering.
    """

    is_leaving = False

    def __init__(self, limits, header_seconds=60.0, body_seconds=30.0):
        self.limits = limits
        self.header_seconds = header_seconds
        self.body_seconds = body_seconds
        # JSON is several times as long as the audio in it.
        self._max_bytes = max(2 * limits.queue_bytes, limits.max_request_bytes)
        self._bytes = 0
        self._tenant_bytes = collections.Counter()
        self._share = max(
            limits.tenant_share * self._max_bytes, limits.max_request_bytes
        )
        self._places = _Places(self._max_bytes // limits.max_request_bytes)
        self._tenant_places = collections.defaultdict(
            lambda: _Places(self._share // limits.max_request_bytes)
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, "parse")

    @contextlib.contextmanager
    def reservation(self, tenant):
        """A function that reserves bytes, till the end of the context.

        It raises `status.ServingError` with RESOURCE_EXHAUSTED where all
        requests, or all of the tenant's, would have too many.
        """
        reserved = 0

        def reserve(num_bytes):
            nonlocal reserved
            if (
                self._bytes + num_bytes > self._max_bytes
                or self._tenant_bytes[tenant] + num_bytes > self._share
            ):
                raise errors.ServingError(
                    errors.Code.RESOURCE_EXHAUSTED,
                    "too many bytes of requests are being read; try again",
                    retry_after_seconds=1.0,
                )
            reserved += num_bytes
            self._bytes += num_bytes
            self._tenant_bytes[tenant] += num_bytes

        try:
            yield reserve
        finally:
            self._bytes -= reserved
            self._tenant_bytes[tenant] -= reserved
            if not self._tenant_bytes[tenant]:
                del self._tenant_bytes[tenant]

    @contextlib.asynccontextmanager
    async def reading(self, tenant):
        """A place to read a message of unknown length; waits for one.

        The tenant's own places come first, so that one tenant's senders keep
        no other waiting. Where others wait, slow senders are cut off early.

        Raises:
            TimeoutError: cut off.
            status.ServingError: RESOURCE_EXHAUSTED, too many wait.
        """
        async with self._tenant_places[tenant].hold(), self._places.hold():
            yield

    async def parse(self, num_bytes, function, *arguments):
        """`function(*arguments)`, in a thread if it goes through many bytes."""
        if num_bytes <= MAX_INLINE_BYTES:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    def close(self):
        """Ends the threads; what they parse is finished first."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Places:
    """So many places; who holds one has to hurry once others wait for it."""

    def __init__(self, count):
        self._free = asyncio.Semaphore(int(count))
        self._waiting = 0
        # Of each that is held its timeout, and since when.
        self._held = {}

    @contextlib.asynccontextmanager
    async def hold(self):
        if self._waiting >= MAX_WAITING:
            raise errors.ServingError(
                errors.Code.RESOURCE_EXHAUSTED,
                "too many requests wait to be read; try again",
                retry_after_seconds=1.0,
            )
        clock = asyncio.get_running_loop().time
        if self._free.locked():
            for timeout, since in self._held.items():
                if not timeout.expired():
                    timeout.reschedule(max(clock(), since + CROWDED_SECONDS))
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            seconds = CROWDED_SECONDS if self._waiting else None
            async with asyncio.timeout(seconds) as timeout:
                self._held[timeout] = clock()
                try:
                    yield
                finally:
                    del self._held[timeout]
        finally:
            self._free.release()


def inflate(data, max_bytes):
    """The content of a gzip file, which must not be longer than `max_bytes`.

    Raises:
        status.ServingError: INVALID_ARGUMENT: longer, damaged, not gzip.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        content = inflater.decompress(data, max_bytes + 1)
    except zlib.error:
        raise tensors.invalid("the body is not gzip") from None
    if len(content) > max_bytes:
        raise tensors.invalid(
            f"the body inflates to more than {max_bytes} bytes"
        )
    if not inflater.eof or inflater.unused_data:
        raise tensors.invalid("the body must be one whole gzip member")
    return content
