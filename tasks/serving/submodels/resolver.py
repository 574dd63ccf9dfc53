"""Which version of a speaker's Submodel is the current one."""

import asyncio
import collections
import time

from absl import logging

from tasks.serving import errors

# How long a request waits for a store that is slow, if there is an answer
# that is merely old.
PATIENCE_SECONDS = 0.25


class Resolver:
    """Remembers current versions for a moment, and asks the store once.

    Runs on one asyncio loop. An answer younger than `resolve_seconds` is used
    as it is. An older one is asked for again, and still used, up to
    `stale_seconds`, while the store hangs or fails.

    Args:
        source: with `resolve(tenant, speaker)`, see `loader.StoreSource`.
        workers: `workers.Workers` that call the store.
        limits: `limits.Limits`.
        on_answer: function of (tenant, speaker, version), called with each of
            the store's answers; the version is None if there is none.
        clock: function that gives monotonic seconds.
    """

    def __init__(
        self, source, workers, limits, on_answer, clock=time.monotonic
    ):
        self._source = source
        self._workers = workers
        self._limits = limits
        self._on_answer = on_answer
        self._clock = clock
        self._entries = collections.OrderedDict()
        # The last answer took too long: who has an old one takes it at once.
        self._is_hanging = False

    async def resolve(self, tenant, speaker):
        """The current `Version`.

        Raises:
            status.ServingError: NOT_FOUND there is none; UNAVAILABLE the store
                does not answer; FAILED_PRECONDITION its entry is damaged.
        """
        entry = self._entry(tenant, speaker)
        if self._age(entry) <= self._limits.resolve_seconds:
            return entry.current()
        flight = self._ask(tenant, speaker, entry)
        if not self._is_stale(entry):
            await asyncio.wait({flight})
        elif not self._is_hanging:
            await asyncio.wait({flight}, timeout=PATIENCE_SECONDS)
            self._is_hanging |= not flight.done()
        if flight.done() and entry.failure is None:
            return entry.current()
        if self._is_stale(entry):
            return entry.version
        raise errors.again(entry.failure or _silent())

    async def refresh(self, tenant, speaker):
        """Asks the store now; errors are for those who `resolve`."""
        entry = self._entry(tenant, speaker)
        await asyncio.wait({self._ask(tenant, speaker, entry)})

    def invalidate(self, tenant, speaker):
        """The next `resolve` asks, and takes no older answer."""
        self._entries.pop((tenant, speaker), None)

    def _entry(self, tenant, speaker):
        key = tenant, speaker
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            if len(self._entries) > self._limits.resolved_entries:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(key)
        return entry

    def _age(self, entry):
        return self._clock() - entry.asked_at

    def _is_stale(self, entry):
        return (
            entry.version is not None
            and self._age(entry) <= self._limits.stale_seconds
        )

    def _ask(self, tenant, speaker, entry):
        if entry.flight is None or entry.flight.done():
            entry.flight = asyncio.create_task(
                self._fetch(tenant, speaker, entry)
            )
        return entry.flight

    async def _fetch(self, tenant, speaker, entry):
        # The answer is as old as the question.
        asked_at = self._clock()
        version, error = None, None
        try:
            version = await self._workers.call(
                self._source.resolve,
                tenant,
                speaker,
                seconds=self._limits.store_seconds,
            )
        except LookupError:
            error = errors.ServingError(
                errors.Code.NOT_FOUND,
                f"there is no Submodel of {speaker!r}",
            )
        except ValueError as raised:
            error = errors.ServingError(
                errors.Code.FAILED_PRECONDITION,
                f"the store's entry of {speaker!r} is damaged: {raised}",
            )
        except TimeoutError:
            self._is_hanging = True
            entry.failure = _silent()
            return
        except Exception:
            logging.exception("the store failed to resolve a Submodel")
            entry.failure = errors.ServingError(
                errors.Code.UNAVAILABLE, "the store fails", 1.0
            )
            return
        self._is_hanging = False
        entry.asked_at, entry.version = asked_at, version
        entry.error, entry.failure = error, None
        # Who was told to take no older answer is not told this one.
        is_current = self._entries.get((tenant, speaker), entry) is entry
        if is_current and (
            error is None or error.code is errors.Code.NOT_FOUND
        ):
            self._on_answer(tenant, speaker, version)


class _Entry:
    """What the store last said: a version, or an error that it stands by."""

    def __init__(self):
        self.asked_at = float("-inf")
        self.version = None
        self.error = None
        # Why the last question got no answer at all.
        self.failure = None
        self.flight = None

    def current(self):
        if self.error is not None:
            raise errors.again(self.error)
        return self.version


def _silent():
    return errors.ServingError(
        errors.Code.UNAVAILABLE, "the store does not answer", 1.0
    )
