"""Makes batches of many users' utterances and has an engine serve them."""

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections import abc

import numpy as np
from absl import logging

from tasks.serving import errors
from tasks.serving.queueing import fair_queues

# Of the measured speed that is forgotten with each batch.
_FORGET = 0.3


@dataclasses.dataclass(eq=False)
class Item:
    """One utterance on its way through the engine.

    Args:
        tenant: string.
        audio: `[samples]` float32.
        row: `[num_values]` float32, which stays as it is until `on_end`.
        row_key: what tells rows apart: equal keys share one row of a batch.
        bucket: int, by the audio's length.
        cost: float, by the bucket.
        deadline: float, monotonic seconds.
        on_end: function without arguments, called once, on the loop, when
            the batcher needs audio and row no more.
        future: gets `(text, score, status)`, or a `status.ServingError` as
            its result, since nobody may be left to fetch an exception.
    """

    tenant: str
    audio: np.ndarray
    row: np.ndarray
    row_key: abc.Hashable
    bucket: int
    cost: float
    deadline: float
    on_end: abc.Callable
    future: asyncio.Future
    queued_at: float = 0.0
    tag: float = 0.0
    is_ended: bool = False

    def end(self, outcome=None):
        """On the loop: gives back what it holds; a second call does nothing."""
        if not self.is_ended:
            self.is_ended = True
            self.on_end()
        if not self.future.done():
            self.future.set_result(outcome)


class Batcher:
    """Queues of one model version, and the threads that call its engine.

    `add`, `discard` and `close` run on the loop; batches are formed and
    gathered in the threads, so that a busy loop does not idle the engine.

    Args:
        name: string, of the model, for metrics and threads.
        engine: `engine.Engine`.
        limits: `limits.Limits`.
        metrics: `metrics.Metrics`.
        loop: asyncio loop.
        clock: function that gives monotonic seconds.
    """

    def __init__(
        self, name, engine, limits, metrics, loop, clock=time.monotonic
    ):
        self._name = name
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._loop = loop
        self._clock = clock
        self._condition = threading.Condition()
        self._queues = fair_queues.FairQueues(
            len(engine.description.bucket_limits),
            limits.batch_size,
            limits.batch_delay_seconds,
        )
        self._running = {}
        self._shapes = set()
        self._seconds = self._cost = 0.0
        self._is_closed = False
        self._threads = [
            threading.Thread(
                target=self._run, name=f"engine-{name}-{index}", daemon=True
            )
            for index in range(limits.engine_calls)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def num_shapes(self):
        """Shapes of batches so far; what an engine might compile for."""
        return len(self._shapes)

    @property
    def is_stuck(self):
        """Whether a call of the engine takes longer than it may."""
        with self._condition:
            starts = [started for started, _ in self._running.values()]
        latest = self._clock() - self._limits.engine_seconds
        return any(started < latest for started in starts)

    def expected_wait(self, tenant):
        """Seconds until the engine would begin the tenant's next utterance.

        By the speed of the last batches; 0 before the first, and whenever
        nothing is before it, so that a wrong guess cannot refuse everything.
        """
        with self._condition:
            if not self._cost:
                return 0.0
            before = self._queues.cost_before(self._queues.start_of(tenant))
            if before:
                before += sum(cost for _, cost in self._running.values())
            rate = self._seconds / self._cost
        return before * rate / self._limits.engine_calls

    def add(self, item):
        """Queues an item; its future gets the answer.

        Raises:
            status.ServingError: UNAVAILABLE, the batcher is closed.
        """
        item.queued_at = self._clock()
        with self._condition:
            is_closed = self._is_closed
            if not is_closed:
                self._queues.add(item)
                self._condition.notify()
        if is_closed:
            item.end()
            raise closed()

    def discard(self, item):
        """Takes back an item that nobody waits for any more.

        One that is already with the engine ends when the engine is done.
        """
        if item.is_ended:
            return
        with self._condition:
            is_waiting = self._queues.remove(item)
        if is_waiting:
            item.end()

    async def close(self):
        """Ends the threads; what still waits fails as UNAVAILABLE."""
        with self._condition:
            self._is_closed = True
            left = self._queues.clear()
            self._condition.notify_all()
        _end([(item, closed()) for item in left])
        while any(thread.is_alive() for thread in self._threads):
            await asyncio.sleep(0.01)

    def _run(self):
        while (batch := self._take()) is not None:
            self._serve(batch)

    def _take(self):
        with self._condition:
            while not self._is_closed:
                batch, expired, wait = self._queues.take(self._clock())
                if expired:
                    self._post([(item, late()) for item in expired])
                if batch:
                    return batch
                self._condition.wait(wait)
        return None

    def _serve(self, batch):
        """Serves a batch; halves it as often as it takes to find who fails."""
        now = self._clock()
        self._post([(item, late()) for item in batch if item.deadline <= now])
        batch = [item for item in batch if item.deadline > now]
        if not batch:
            return
        try:
            answers = self._call(batch)
        except Exception:
            self._metrics.failed(self._name)
            if len(batch) > 1:
                half = len(batch) // 2
                self._serve(batch[:half])
                self._serve(batch[half:])
                return
            logging.exception("the engine failed on an utterance")
            answers = [
                errors.ServingError(
                    errors.Code.INTERNAL, "the engine failed on this utterance"
                )
            ]
        self._post(list(zip(batch, answers, strict=True)))

    def _call(self, batch):
        started = self._clock()
        cost = sum(item.cost for item in batch)
        thread = threading.get_ident()
        with self._condition:
            self._running[thread] = started, cost
        try:
            arrays = gather(batch, self._engine.description)
            self._shapes.add((arrays[0].shape, arrays[2].shape))
            transcripts = self._engine.transcribe(*arrays)
            answers = list(
                zip(
                    transcripts.text,
                    transcripts.score,
                    transcripts.status,
                    strict=True,
                )
            )
            if len(answers) != len(batch):
                raise ValueError(
                    f"{len(answers)} answers to {len(batch)} utterances"
                )
        finally:
            with self._condition:
                del self._running[thread]
        self._measure(batch, started, cost)
        return answers

    def _measure(self, batch, started, cost):
        seconds = self._clock() - started
        with self._condition:
            # Decayed sums, so that full batches count for more than the
            # single utterances that a quiet time leaves.
            self._seconds = (1 - _FORGET) * self._seconds + seconds
            self._cost = (1 - _FORGET) * self._cost + cost
        samples = sum(len(item.audio) for item in batch)
        self._metrics.ran(self._name, seconds, len(batch), 1 - samples / cost)
        for item in batch:
            self._metrics.waited(self._name, started - item.queued_at)

    def _post(self, pairs):
        if pairs:
            # The loop may be gone: nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_end, pairs)


def gather(batch, description):
    """A batch of one bucket as the engine takes it.

    Rows are copied here, each once however many utterances it serves, so that
    the engine sees what its caller held and nothing that comes after.

    Returns:
        audio `[b, samples]` float32, lengths `[b]` int32, submodels
        `[u, num_values]` float32, index `[b]` int32.
    """
    # One width for each bucket: another length is another shape to compile.
    width = description.bucket_limits[batch[0].bucket]
    audio = np.zeros((len(batch), width), np.float32)
    lengths = np.empty(len(batch), np.int32)
    index = np.empty(len(batch), np.int32)
    places, rows = {}, []
    for place, item in enumerate(batch):
        lengths[place] = len(item.audio)
        audio[place, : lengths[place]] = item.audio
        if item.row_key not in places:
            places[item.row_key] = len(rows)
            rows.append(item.row)
        index[place] = places[item.row_key]
    return audio, lengths, np.stack(rows), index


def _end(pairs):
    for item, outcome in pairs:
        item.end(outcome)


def late():
    """What a request gets whose deadline is over."""
    return errors.ServingError(
        errors.Code.DEADLINE_EXCEEDED, "the deadline was over before the answer"
    )


def closed():
    """What a request gets that the server will not serve any more."""
    return errors.ServingError(
        errors.Code.UNAVAILABLE, "the server is starting or closing", 1.0
    )
