"""Batches the utterances of many users and has an engine recognise them."""

import asyncio
import contextlib
import threading
import time
from collections import abc

import numpy as np
from absl import logging

from tasks.serving import errors, metrics as serving_metrics
from tasks.serving.exports import (
    description as export_description,
    engine as export_engine,
)
from tasks.serving.queueing import fair_queues, limits as serving_limits

_Batch = list[fair_queues.QueuedUtterance]
_Outcomes = list[tuple[fair_queues.QueuedUtterance, object]]
# How much of the speed measured so far each batch takes away.
_DECAY = 0.3


class Batcher:
    """The queues of one model version, and the threads that call its engine.

    `add`, `discard` and `close` run on the loop. Batches are formed in the
    threads, so that a busy loop does not idle the engine.
    """

    def __init__(
        self,
        name: str,
        engine: export_engine.Engine,
        limits: serving_limits.Limits,
        metrics: serving_metrics.Metrics,
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._condition = threading.Condition()
        self._queues = fair_queues.FairQueues(
            len(engine.description.bucket_limits),
            limits.batch_size,
            limits.batch_delay_seconds,
        )
        # By thread: when its call of the engine began, and the call's cost.
        self._running: dict[int, tuple[float, float]] = {}
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
    def num_shapes(self) -> int:
        """Shapes of batches so far: what an engine might compile for."""
        return len(self._shapes)

    @property
    def is_stuck(self) -> bool:
        """Whether a call of the engine takes longer than it may."""
        latest = self._clock() - self._limits.engine_seconds
        with self._condition:
            return any(began < latest for began, _ in self._running.values())

    def expected_wait(self, tenant: str) -> float:
        """Seconds until the engine would begin the tenant's next utterance.

        Measured by the speed of the last batches. It is 0 before the first,
        and whenever nothing is ahead: a wrong guess must not refuse everything.
        """
        with self._condition:
            if not self._cost:
                return 0.0
            ahead = self._queues.cost_before(self._queues.start_of(tenant))
            if ahead:
                ahead += sum(cost for _, cost in self._running.values())
            seconds_per_cost = self._seconds / self._cost
        return ahead * seconds_per_cost / self._limits.engine_calls

    def add(self, utterance: fair_queues.QueuedUtterance) -> None:
        """Queues an utterance; its future gets the answer.

        Raises:
            ServingError: UNAVAILABLE, the batcher is closed.
        """
        description = self._engine.description
        utterance.bucket = description.bucket(len(utterance.audio))
        utterance.cost = description.bucket_samples[utterance.bucket]
        utterance.queued_at = self._clock()
        with self._condition:
            is_closed = self._is_closed
            if not is_closed:
                self._queues.add(utterance)
                self._condition.notify()
        if is_closed:
            utterance.end()
            raise errors.not_serving()

    def discard(self, utterance: fair_queues.QueuedUtterance) -> None:
        """Takes back an utterance that nobody waits for any more.

        If the engine already has it, it ends when the engine is done.
        """
        if utterance.has_ended:
            return
        with self._condition:
            is_waiting = self._queues.remove(utterance)
        if is_waiting:
            utterance.end()

    async def close(self) -> None:
        """Ends the threads; what still waits fails as UNAVAILABLE."""
        with self._condition:
            self._is_closed = True
            left = self._queues.clear()
            self._condition.notify_all()
        _end([(utterance, errors.not_serving()) for utterance in left])
        while any(thread.is_alive() for thread in self._threads):
            await asyncio.sleep(0.01)

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._serve(batch)

    def _take(self) -> _Batch | None:
        with self._condition:
            while not self._is_closed:
                batch, expired, wait = self._queues.take(self._clock())
                self._expire(expired)
                if batch:
                    return batch
                self._condition.wait(wait)
        return None

    def _serve(self, batch: _Batch) -> None:
        """Serves a batch; halves a failing one until the culprits are alone."""
        now = self._clock()
        self._expire([each for each in batch if each.deadline <= now])
        batch = [each for each in batch if each.deadline > now]
        if not batch:
            return
        try:
            answers = self._call(batch)
        except Exception:
            self._metrics.failed_engine_calls.labels(self._name).inc()
            if len(batch) > 1:
                half = len(batch) // 2
                self._serve(batch[:half])
                self._serve(batch[half:])
                return
            logging.exception("the engine failed on an utterance")
            answers = [errors.internal("the engine failed on this utterance")]
        self._post(list(zip(batch, answers, strict=True)))

    def _call(self, batch: _Batch) -> list[tuple]:
        started = self._clock()
        cost = sum(each.cost for each in batch)
        thread = threading.get_ident()
        with self._condition:
            self._running[thread] = started, cost
        try:
            arrays = to_arrays(batch, self._engine.description)
            self._shapes.add((arrays[0].shape, arrays[2].shape))
            found = self._engine.transcribe(*arrays)
            rows = zip(found.text, found.score, found.status, strict=True)
            answers = list(rows)
            if len(answers) != len(batch):
                raise ValueError(
                    f"the engine must answer {len(batch)} utterances. "
                    f"Received: {len(answers)} answers."
                )
        finally:
            with self._condition:
                del self._running[thread]
        self._measure(batch, started, cost)
        return answers

    def _measure(self, batch: _Batch, started: float, cost: float) -> None:
        seconds = self._clock() - started
        with self._condition:
            # Sums that decay, so that full batches count for more than the
            # single utterances of a quiet time.
            self._seconds = (1 - _DECAY) * self._seconds + seconds
            self._cost = (1 - _DECAY) * self._cost + cost
        samples = sum(len(each.audio) for each in batch)
        metrics, name = self._metrics, self._name
        metrics.engine_seconds.labels(name).observe(seconds)
        metrics.batch_size.labels(name).observe(len(batch))
        metrics.padding_fraction.labels(name).observe(1 - samples / cost)
        waits = metrics.queue_seconds.labels(name)
        for each in batch:
            waits.observe(started - each.queued_at)

    def _expire(self, utterances: _Batch) -> None:
        self._post([(each, errors.deadline_exceeded()) for each in utterances])

    def _post(self, outcomes: _Outcomes) -> None:
        if outcomes:
            # A closed loop raises: nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_end, outcomes)


def to_arrays(
    batch: _Batch,
    description: export_description.Description,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A batch of one bucket as the engine takes it.

    Submodels are copied here, each once however many utterances share it, so
    that nothing written to their rows later reaches the engine.

    Returns:
        audio `[b, samples]` float32, lengths `[b]` int32, submodels
        `[u, num_values]` float32, index `[b]` int32, language_index `[b]`
        int32.
    """
    # One width for each bucket: another width is another shape to compile.
    width = description.bucket_limits[batch[0].bucket]
    audio = np.zeros((len(batch), width), np.float32)
    lengths = np.array([len(each.audio) for each in batch], np.int32)
    index = np.empty(len(batch), np.int32)
    rows: dict[abc.Hashable, int] = {}
    vectors = []
    for place, each in enumerate(batch):
        audio[place, : lengths[place]] = each.audio
        # Views of one array are different objects. A view that repeats one
        # value has strides of zero, so the address alone is not enough.
        key = each.vector.__array_interface__["data"][0], each.vector.strides
        if key not in rows:
            rows[key] = len(vectors)
            vectors.append(each.vector)
        index[place] = rows[key]
    languages = np.array([each.language_index for each in batch], np.int32)
    return audio, lengths, np.stack(vectors), index, languages


def _end(outcomes: _Outcomes) -> None:
    for utterance, outcome in outcomes:
        utterance.end(outcome)
