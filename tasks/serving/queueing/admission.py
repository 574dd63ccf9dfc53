"""Decides which requests may enter, by exact bounds on what is inside."""

import collections
import math

from tasks.serving import errors, metrics as serving_metrics
from tasks.serving.queueing import limits as serving_limits

_MIN_RETRY_SECONDS = 0.1
_MAX_RETRY_SECONDS = 30.0


class Admission:
    """Counts utterances and bytes from admission to answer, on one thread.

    Attributes:
        requests: utterances inside.
        bytes: what they take.
    """

    def __init__(
        self,
        limits: serving_limits.Limits,
        metrics: serving_metrics.Metrics,
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self.requests = 0
        self.bytes = 0
        # By tenant: utterances and bytes.
        self._tenants = collections.defaultdict(lambda: [0, 0])

    def check_count(self, count: int) -> None:
        """Raises INVALID_ARGUMENT for too many utterances, or for none."""
        limit = self._limits.max_request_utterances
        if not 1 <= count <= limit:
            raise errors.invalid_argument(
                f"a request must have 1 to {limit} utterances. Received: "
                f"{count}."
            )

    def check_wait(self, wait: float, seconds: float = math.inf) -> None:
        """Raises RESOURCE_EXHAUSTED if the engine would begin too late.

        Args:
            wait: expected seconds until the engine begins.
            seconds: time left until the deadline.
        """
        if wait > min(self._limits.queue_seconds, seconds):
            self._metrics.refusals.labels("wait").inc()
            raise errors.resource_exhausted(
                f"busy: the answer would take more than {wait:.1f} s",
                _retry_after(wait),
            )

    def enter(
        self, tenant: str, sizes: list[int], wait: float
    ) -> list["Place"]:
        """Lets a request's utterances in, all or none: a `Place` for each.

        Args:
            sizes: bytes of each utterance.
            wait: expected seconds until the engine begins; a refused sender is
                told to come back after them.

        Raises:
            ServingError: RESOURCE_EXHAUSTED.
        """
        limits = self._limits
        count, num_bytes = len(sizes), sum(sizes)
        tenant_count, tenant_bytes = self._tenants.get(tenant, (0, 0))
        # At least one: a share of a short queue is not nothing.
        share_count = max(1, int(limits.tenant_share * limits.queue_requests))
        share_bytes = int(limits.tenant_share * limits.queue_bytes)
        for reason, inside, more, limit in (
            ("queue_requests", self.requests, count, limits.queue_requests),
            ("queue_bytes", self.bytes, num_bytes, limits.queue_bytes),
            ("tenant_share", tenant_count, count, share_count),
            ("tenant_share", tenant_bytes, num_bytes, share_bytes),
        ):
            if inside + more > limit:
                self._metrics.refusals.labels(reason).inc()
                raise errors.resource_exhausted(
                    f"busy: `{reason}` allows {limit} at a time, with this "
                    f"request there would be {inside + more}",
                    # What can never fit is not worth another try.
                    _retry_after(wait) if more <= limit else None,
                )
        return [Place(self, tenant, size) for size in sizes]

    def add(self, tenant: str, count: int, num_bytes: int) -> None:
        self.requests += count
        self.bytes += num_bytes
        held = self._tenants[tenant]
        held[0] += count
        held[1] += num_bytes
        if held[0] == 0:
            del self._tenants[tenant]


class Place:
    """The room that one utterance takes up until it leaves."""

    def __init__(
        self, admission: Admission, tenant: str, num_bytes: int
    ) -> None:
        self._admission = admission
        self._tenant = tenant
        self._num_bytes = num_bytes
        self._has_left = False
        admission.add(tenant, 1, num_bytes)

    def shrink(self, num_bytes: int) -> None:
        """Gives back what the utterance turned out not to need."""
        if not self._has_left and num_bytes < self._num_bytes:
            self._admission.add(self._tenant, 0, num_bytes - self._num_bytes)
            self._num_bytes = num_bytes

    def leave(self) -> None:
        """Makes room; a second call does nothing."""
        if not self._has_left:
            self._has_left = True
            self._admission.add(self._tenant, -1, -self._num_bytes)


def _retry_after(wait: float) -> float:
    return min(max(wait, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
