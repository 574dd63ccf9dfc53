"""The ready Submodels of one base model, each loaded once for all who wait."""

import asyncio
import dataclasses
import time
from collections import abc

import cachetools
from absl import logging

from lingvo_like import json_values
from lingvo_like.store import records
from tasks.serving import errors
from tasks.serving.exports import description as export_description
from tasks.serving.submodels import cache, reader

# Wrong files that are remembered, so that they are not read by each request.
_MAX_REFUSED = 10_000


def key_of(description: export_description.Description) -> tuple:
    """The same for all exports that take the same Submodels."""
    return (
        description.base_fingerprint,
        json_values.canonical_json(description.parts),
    )


class ReadySubmodels:
    """The rows of all exports that take the same Submodels.

    Runs on one asyncio loop.

    Args:
        is_pinned: whether an owner's row must not be evicted.

    Attributes:
        users: model versions that use it.
    """

    def __init__(
        self,
        description: export_description.Description,
        submodel_reader: reader.SubmodelReader,
        is_pinned: abc.Callable[[cache.Owner], bool],
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self.description = description
        self.users = 0
        limits, metrics = submodel_reader.limits, submodel_reader.metrics
        self.rows = cache.RowCache(
            description.num_values,
            limits.row_cache_bytes,
            is_pinned,
            lambda: metrics.evictions.labels("row").inc(),
        )
        self._reader = submodel_reader
        self._metrics = metrics
        self._clock = clock
        self._flights: dict[tuple, _Flight] = {}
        self._refused: cachetools.TTLCache = cachetools.TTLCache(
            _MAX_REFUSED, limits.resolve_seconds, timer=clock
        )

    async def acquire(self, version: records.Version) -> cache.RowHandle:
        """A hold of a version's row; many who wait for it load it once.

        Raises:
            GoneError: the version was erased or replaced.
            ServingError: FAILED_PRECONDITION, the file does not fit;
                RESOURCE_EXHAUSTED, every row is in use; UNAVAILABLE.
        """
        handle = self.rows.acquire(version)
        if handle is not None:
            self._metrics.lookups.labels("row").inc()
            return handle
        key = _key(version)
        refused = self._refused.get(key)
        if refused is not None:
            raise refused.copy()
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.create_task(self._fly(version, flight))
        waiter = asyncio.get_running_loop().create_future()
        # The same content may have been published under another number since.
        flight.waiters.append((waiter, version))
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            # The row may have been handed over just before.
            is_answered = waiter.done() and not waiter.cancelled()
            if is_answered and isinstance(waiter.result(), cache.RowHandle):
                waiter.result().release()
            raise
        if isinstance(outcome, cache.RowHandle):
            return outcome
        if isinstance(outcome, errors.ServingError):
            raise outcome.copy()
        raise reader.GoneError

    def forget(self, owner: cache.Owner, keep: str | None) -> None:
        """Drops an owner's rows and loads except of the SHA-256 `keep`."""
        self.rows.forget(owner, keep)
        for (*flown, sha256), flight in self._flights.items():
            if tuple(flown) == owner:
                flight.is_dropped |= sha256 != keep

    def refuse(
        self, version: records.Version, reason: object
    ) -> errors.ServingError:
        """The error for a file that cannot be used, remembered for a moment."""
        error = errors.failed_precondition(
            f"the Submodel of {version.speaker!r}, version {version.name}, "
            f"cannot be used: {reason}"
        )
        self._refused[_key(version)] = error
        return error

    async def _fly(self, version: records.Version, flight: "_Flight") -> None:
        started = self._clock()
        error = None
        try:
            parsed, data = await self._reader.read(version, self.description)
            if flight.is_dropped:
                raise reader.GoneError
            self._reader.files.put(version, data)
            self.rows.insert(version, *parsed)
            self._metrics.load_seconds.observe(self._clock() - started)
        except (errors.ServingError, reader.GoneError) as raised:
            error = raised
        except ValueError as raised:
            error = self.refuse(version, raised)
        except cache.NoRoomError:
            self._metrics.refusals.labels("rows").inc()
            error = errors.resource_exhausted(
                f"all {self.rows.num_rows} ready Submodels are in use", 1.0
            )
        except Exception:
            logging.exception("a Submodel could not be loaded")
            error = errors.internal("the Submodel could not be loaded")
        del self._flights[_key(version)]
        for waiter, wanted in flight.waiters:
            if not waiter.done():
                waiter.set_result(error or self.rows.acquire(wanted))


@dataclasses.dataclass(eq=False)
class _Flight:
    """One load, and the futures of those who wait for it."""

    # The loop itself keeps only a weak reference to the task.
    task: asyncio.Task | None = None
    waiters: list[tuple[asyncio.Future, records.Version]] = dataclasses.field(
        default_factory=list
    )
    is_dropped: bool = False


def _key(version: records.Version) -> tuple[str, str, str]:
    return version.tenant, version.speaker, version.sha256
