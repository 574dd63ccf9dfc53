"""The order in which utterances are served: fair to tenants, by bucket."""

import asyncio
import dataclasses
import heapq
import itertools
from collections import abc

import numpy as np


@dataclasses.dataclass(eq=False)
class QueuedUtterance:
    """One utterance on its way through the queues and the engine.

    The batcher sets `bucket`, `cost` and `queued_at`, the queues set `tag`.

    Args:
        audio: `[samples]` float32.
        vector: `[num_values]` float32, a packed Submodel that stays as it is
            until `on_end`. Utterances that share the array share a row of the
            batch.
        deadline: monotonic seconds.
        on_end: called once, on the loop, when the batcher no longer needs
            audio and vector.
        future: gets `(text, score, status)`, or a `ServingError` as its
            result: nobody may be left to retrieve an exception.
        language_index: of the language to write, among the export's.
    """

    tenant: str
    audio: np.ndarray
    vector: np.ndarray
    deadline: float
    on_end: abc.Callable[[], None]
    future: asyncio.Future
    language_index: int = 0
    bucket: int = 0
    cost: float = 0.0
    queued_at: float = 0.0
    tag: float = 0.0
    has_ended: bool = False

    def end(self, outcome: object = None) -> None:
        """On the loop: gives back what it holds; a second call does nothing."""
        if not self.has_ended:
            self.has_ended = True
            self.on_end()
        if not self.future.done():
            self.future.set_result(outcome)


class FairQueues:
    """A queue for each length bucket, from which batches are taken.

    Start-time fair queueing (Goyal, Vin and Cheng, 1996): an item's tag is the
    start it would have if every waiting tenant got an equal part of the
    engine, and the lowest tag goes first. For a single tenant that is first
    come, first served. The caller holds a lock.

    Args:
        delay_seconds: how long an item waits for company.
    """

    def __init__(
        self, num_buckets: int, batch_size: int, delay_seconds: float
    ) -> None:
        self._heaps: list[list[tuple[float, int, QueuedUtterance]]] = [
            [] for _ in range(num_buckets)
        ]
        self._batch_size = batch_size
        self._delay_seconds = delay_seconds
        self._virtual_time = 0.0
        # By tenant: the tag at which its last item would be finished.
        self._finish: dict[str, float] = {}
        self._order = itertools.count()

    def add(self, item: QueuedUtterance) -> None:
        item.tag = self.start_of(item.tenant)
        self._finish[item.tenant] = item.tag + item.cost
        entry = item.tag, next(self._order), item
        heapq.heappush(self._heaps[item.bucket], entry)

    def remove(self, item: QueuedUtterance) -> bool:
        """Takes an item out; False if it is not here.

        Its tenant is not charged for it: items added after it move forward by
        its cost, though never ahead of what has been served.
        """
        entries = [entry for heap in self._heaps for entry in heap]
        place = next((entry[:2] for entry in entries if entry[2] is item), None)
        if place is None:
            return False

        def earlier(tag: float) -> float:
            return min(tag, max(tag - item.cost, self._virtual_time))

        for *its_place, each in entries:
            if each.tenant == item.tenant and tuple(its_place) > place:
                each.tag = earlier(each.tag)
        for heap in self._heaps:
            heap[:] = [
                (each.tag, order, each)
                for _, order, each in heap
                if each is not item
            ]
            heapq.heapify(heap)
        if item.tenant in self._finish:
            self._finish[item.tenant] = earlier(self._finish[item.tenant])
        return True

    def start_of(self, tenant: str) -> float:
        """The tag that the tenant's next item would get."""
        return max(self._virtual_time, self._finish.get(tenant, 0.0))

    def cost_before(self, tag: float) -> float:
        """The cost of everything that goes before an item with this tag."""
        return sum(item.cost for item in self._waiting() if item.tag <= tag)

    def take(
        self, now: float
    ) -> tuple[list[QueuedUtterance], list[QueuedUtterance], float | None]:
        """Takes out the next batch and everything that has expired.

        Returns:
            (batch, expired, wait): items of one bucket in their order; items
            whose deadline has passed; and, if the batch is empty, the seconds
            until there may be one, or None if something must be added first.
        """
        expired = [item for item in self._waiting() if item.deadline <= now]
        for item in expired:
            self.remove(item)
        ready, waits = [], []
        for heap in filter(None, self._heaps):
            oldest = min(item.queued_at for _, _, item in heap)
            wait = oldest + self._delay_seconds - now
            if wait <= 0 or len(heap) >= self._batch_size:
                ready.append(heap)
            else:
                waits.append(wait)
        if not ready:
            return [], expired, min(waits, default=None)
        heap = min(ready, key=lambda entries: entries[0][:2])
        self._virtual_time = max(self._virtual_time, heap[0][0])
        self._finish = {
            tenant: finish
            for tenant, finish in self._finish.items()
            if finish > self._virtual_time
        }
        count = min(len(heap), self._batch_size)
        return [heapq.heappop(heap)[2] for _ in range(count)], expired, None

    def clear(self) -> list[QueuedUtterance]:
        """Takes out everything that waits."""
        items = self._waiting()
        for heap in self._heaps:
            heap.clear()
        return items

    def _waiting(self) -> list[QueuedUtterance]:
        return [item for heap in self._heaps for _, _, item in heap]
