"""Finds out which version of a speaker's Submodel is the current one."""

import asyncio
import dataclasses
import math
import time
from collections import abc

import cachetools
from absl import logging

from lingvo_like.store import records
from tasks.serving import errors, threads
from tasks.serving.queueing import limits as serving_limits
from tasks.serving.submodels import cache, source

_SILENT = "the store does not answer"


class VersionResolver:
    """Remembers current versions for a moment, and asks the store once.

    Runs on one asyncio loop. An answer younger than `resolve_seconds` is used
    as it is. An older one is asked for again, but still used, up to
    `stale_seconds`, while the store hangs or fails.

    Args:
        store: the threads that call the store.
        on_answer: called with the owner and each answer of the store; the
            version is None if there is none.
    """

    def __init__(
        self,
        submodel_source: source.StoreSource | None,
        store: threads.ThreadPool,
        limits: serving_limits.Limits,
        on_answer: abc.Callable[[cache.Owner, records.Version | None], None],
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = submodel_source
        self._store = store
        self._limits = limits
        self._on_answer = on_answer
        self._clock = clock
        self._entries: cachetools.LRUCache[cache.Owner, _Entry] = (
            cachetools.LRUCache(limits.remembered_users)
        )
        # The last answer took too long: an old one is then taken at once.
        self._is_hanging = False

    async def resolve(self, tenant: str, speaker: str) -> records.Version:
        """The current version of a speaker's Submodel.

        Raises:
            ServingError: NOT_FOUND, there is none; UNAVAILABLE, the store does
                not answer; FAILED_PRECONDITION, its entry is damaged.
        """
        owner = tenant, speaker
        entry = self._entry(owner)
        if self._age(entry) <= self._limits.resolve_seconds:
            return entry.current()
        flight = self._ask(owner, entry)
        if not self._may_serve(entry):
            await asyncio.wait({flight})
        elif not self._is_hanging:
            patience = self._limits.patience_seconds
            await asyncio.wait({flight}, timeout=patience)
            self._is_hanging |= not flight.done()
        has_answer = flight.done() and entry.failure is None
        if has_answer or self._may_serve(entry):
            return entry.current()
        raise (entry.failure or errors.unavailable(_SILENT)).copy()

    async def refresh(self, owner: cache.Owner) -> None:
        """Asks the store now; errors are left to those who `resolve`."""
        await asyncio.wait({self._ask(owner, self._entry(owner))})

    def invalidate(self, tenant: str, speaker: str) -> None:
        """Makes the next `resolve` ask again and take no older answer."""
        self._entries.pop((tenant, speaker), None)

    def _entry(self, owner: cache.Owner) -> "_Entry":
        entry = self._entries.get(owner)
        if entry is None:
            entry = self._entries[owner] = _Entry()
        return entry

    def _age(self, entry: "_Entry") -> float:
        return self._clock() - entry.asked_at

    def _may_serve(self, entry: "_Entry") -> bool:
        """Whether the entry's version is recent enough to serve in need."""
        return (
            entry.version is not None
            and self._age(entry) <= self._limits.stale_seconds
        )

    def _ask(self, owner: cache.Owner, entry: "_Entry") -> asyncio.Task:
        if entry.flight is None or entry.flight.done():
            entry.flight = asyncio.create_task(self._fetch(owner, entry))
        return entry.flight

    async def _fetch(self, owner: cache.Owner, entry: "_Entry") -> None:
        # The answer is as old as the question.
        asked_at = self._clock()
        _, speaker = owner
        version = error = None
        try:
            version = await self._store.call(
                self._source.resolve, *owner, seconds=self._limits.store_seconds
            )
        except LookupError:
            error = errors.not_found(
                f"there is no Submodel of {speaker!r}; python -m tasks.store "
                "list shows whose there are"
            )
        except ValueError as raised:
            error = errors.failed_precondition(
                f"the store's entry of {speaker!r} is damaged: {raised}"
            )
        except TimeoutError:
            self._is_hanging = True
            entry.failure = errors.unavailable(_SILENT)
            return
        except Exception:
            logging.exception("the store failed to resolve a Submodel")
            entry.failure = errors.unavailable("the store fails")
            return
        self._is_hanging = False
        entry.asked_at, entry.version = asked_at, version
        entry.error, entry.failure = error, None
        # An entry that was invalidated meanwhile speaks for nobody else.
        is_latest = self._entries.get(owner, entry) is entry
        is_whole = error is None or error.code is errors.Code.NOT_FOUND
        if is_latest and is_whole:
            self._on_answer(owner, version)


@dataclasses.dataclass(eq=False)
class _Entry:
    """The store's last word: a version, or an error that it stands by."""

    asked_at: float = -math.inf
    version: records.Version | None = None
    error: errors.ServingError | None = None
    # Why the last question got no answer.
    failure: errors.ServingError | None = None
    flight: asyncio.Task | None = None

    def current(self) -> records.Version:
        if self.version is None:
            raise (self.error or errors.unavailable(_SILENT)).copy()
        return self.version
