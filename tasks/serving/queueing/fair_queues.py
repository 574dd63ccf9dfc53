"""The order in which utterances are served: fair to tenants, by bucket."""

import heapq
import itertools


class FairQueues:
    """A queue for each length bucket, out of which batches are taken.

    Start-time fair queueing (Goyal, Vin and Cheng, 1996): an item is tagged
    with the start that it would have if every waiting tenant got an equal part
    of the engine, and the lowest tag goes first. Of one tenant alone, that is
    first come, first served.

    Items have `tenant`, `bucket`, `cost` (what it takes to serve it),
    `deadline` and `queued_at`; the queues give them their `tag`. Not locked.

    Args:
        num_buckets: int.
        batch_size: int.
        delay_seconds: float, how long an item waits for company.
    """

    def __init__(self, num_buckets, batch_size, delay_seconds):
        self._heaps = [[] for _ in range(num_buckets)]
        self._batch_size = batch_size
        self._delay_seconds = delay_seconds
        self._virtual_time = 0.0
        self._finish = {}
        self._order = itertools.count()

    def __len__(self):
        return sum(map(len, self._heaps))

    def add(self, item):
        item.tag = self.start_of(item.tenant)
        self._finish[item.tenant] = item.tag + item.cost
        entry = item.tag, next(self._order), item
        heapq.heappush(self._heaps[item.bucket], entry)

    def remove(self, item):
        """Takes an item out; False if it is not here.

        Its tenant is not charged for it: what it added after the item comes
        earlier by the item's cost, though not before what was served by now.
        """
        if not any(each is item for _, _, each in self._heaps[item.bucket]):
            return False

        def earlier(tag):
            return min(tag, max(tag - item.cost, self._virtual_time))

        later = False
        own = [
            entry
            for heap in self._heaps
            for entry in heap
            if entry[2].tenant == item.tenant
        ]
        for _, _, each in sorted(own, key=lambda entry: entry[:2]):
            if later:
                each.tag = earlier(each.tag)
            later = later or each is item
        for bucket, heap in enumerate(self._heaps):
            self._heaps[bucket] = [
                (each.tag, order, each)
                for _, order, each in heap
                if each is not item
            ]
            heapq.heapify(self._heaps[bucket])
        if item.tenant in self._finish:
            self._finish[item.tenant] = earlier(self._finish[item.tenant])
        return True

    def start_of(self, tenant):
        """The tag that the tenant's next item gets."""
        return max(self._virtual_time, self._finish.get(tenant, 0.0))

    def cost_before(self, tag):
        """The cost of what goes before an item with this tag."""
        return sum(
            item.cost
            for heap in self._heaps
            for other, _, item in heap
            if other <= tag
        )

    def take(self, now):
        """What is to be served now.

        Args:
            now: float, seconds.

        Returns:
            (batch, expired, wait): items of one bucket in their order, items
            whose deadline is over, and, if there is no batch, the seconds
            until there may be one; None until something is added.
        """
        expired = self._take_expired(now)
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

    def clear(self):
        """Everything that waits, taken out."""
        items = [item for heap in self._heaps for _, _, item in heap]
        for heap in self._heaps:
            heap.clear()
        return items

    def _take_expired(self, now):
        expired = [
            item
            for heap in self._heaps
            for _, _, item in heap
            if item.deadline <= now
        ]
        for item in expired:
            self.remove(item)
        return expired
