"""The memory and time of a job, measured at its first updates."""

import time
from collections import abc

from tasks.asr.batches import minibatch_schedule
from tasks.asr.estimates import machine, needs

# Updates before which nothing is said.
_UPDATES = 2


class Pace:
    """Measures the first update whose program was compiled before.

    A step's time grows with its padded samples, so that of one length tells
    those of the others.
    """

    def __init__(self) -> None:
        self._compiled: set[int] = set()
        self._updates = 0
        self._at = 0.0
        self._seconds_per_sample: float | None = None

    def begin(self) -> None:
        """Notes that updates begin, after an evaluation for example."""
        self._at = time.monotonic()

    def passed(self, groups: abc.Sequence[minibatch_schedule.Group]) -> bool:
        """Notes a call of the accelerator; True once, when it was measured."""
        now = time.monotonic()
        seconds, self._at = now - self._at, now
        self._updates += len(groups)
        bucket = groups[0].bucket
        is_compiled = bucket in self._compiled
        self._compiled.add(bucket)
        is_first = self._seconds_per_sample is None
        if not is_first or not is_compiled or self._updates < _UPDATES:
            return False
        samples = sum(bucket * len(group.minibatches) for group in groups)
        self._seconds_per_sample = seconds / samples
        return True

    def describe(
        self,
        remaining: abc.Iterable[
            tuple[minibatch_schedule.MinibatchSchedule, int]
        ],
    ) -> str:
        """The memory that was measured, and the time to the end, in words.

        Args:
            remaining: of each speaker, its schedule and the updates to come.
        """
        samples = sum(
            updates * sum(schedule.cost_by_bucket().values())
            for schedule, updates in remaining
        )
        seconds = samples * (self._seconds_per_sample or 0.0)
        return (
            f"measured: {needs.memory(machine.peak_bytes())} of memory at most "
            f"so far; {needs.duration(seconds)} to the end"
        )
