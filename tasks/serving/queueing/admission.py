"""Who may come in: exact bounds on what is in the server at one time."""

import collections

from tasks.serving import errors


class Admission:
    """Counts utterances and bytes from admission to answer, on one thread.

    Args:
        limits: `limits.Limits`.
        metrics: `metrics.Metrics`.
    """

    def __init__(self, limits, metrics):
        self._limits = limits
        self._metrics = metrics
        self.requests = 0
        self.bytes = 0
        self._tenants = collections.defaultdict(lambda: [0, 0])

    def enter(self, tenant, sizes, retry_after_seconds):
        """Lets utterances in, all or none.

        Args:
            tenant: string.
            sizes: list of int, each one's bytes.
            retry_after_seconds: float, for those that are refused.

        Returns:
            list of `Place`, one for each utterance, to `leave`.

        Raises:
            status.ServingError: RESOURCE_EXHAUSTED.
        """
        limits = self._limits
        count, total = len(sizes), sum(sizes)
        mine = self._tenants.get(tenant, (0, 0))
        share = limits.tenant_share
        for reason, held, more, limit in (
            ("queue_requests", self.requests, count, limits.queue_requests),
            ("queue_bytes", self.bytes, total, limits.queue_bytes),
            # At least one: a share of a short queue is not nothing.
            (
                "tenant_share",
                mine[0],
                count,
                max(1, int(share * limits.queue_requests)),
            ),
            ("tenant_share", mine[1], total, int(share * limits.queue_bytes)),
        ):
            if held + more > limit:
                self._refuse(reason, more, limit, retry_after_seconds)
        return [Place(self, tenant, size) for size in sizes]

    def add(self, tenant, count, size):
        self.requests += count
        self.bytes += size
        mine = self._tenants[tenant]
        mine[0] += count
        mine[1] += size
        if mine[0] == 0:
            del self._tenants[tenant]

    def _refuse(self, reason, more, limit, retry_after_seconds):
        self._metrics.refused(reason)
        what = {
            "queue_requests": "the server takes {} utterances at a time",
            "queue_bytes": "the server takes {} bytes at a time",
            "tenant_share": "a tenant's share of the queue is {}",
        }[reason].format(limit)
        # What can never fit is not worth another try.
        if more > limit:
            retry_after_seconds = None
        raise errors.ServingError(
            errors.Code.RESOURCE_EXHAUSTED,
            f"busy: {what}, and this request has {more}",
            retry_after_seconds,
        )


class Place:
    """What one utterance takes up, until it leaves."""

    def __init__(self, admission, tenant, size):
        self._leave = admission, tenant, size
        admission.add(tenant, 1, size)

    def leave(self):
        """Makes room; a second call does nothing."""
        if self._leave is not None:
            admission, tenant, size = self._leave
            self._leave = None
            admission.add(tenant, -1, -size)
