"""The ready Submodels of one base model, each loaded once for all who wait."""

import asyncio

from absl import logging

from tasks.serving import errors
from tasks.serving.submodels import cache

# What a file holds besides its values; see `submodel.MAX_HEADER_BYTES`.
_MAX_HEADER_BYTES = (1 << 22) + 8


class GoneError(Exception):
    """The version is no longer in the store."""


def key_of(description):
    """What exports have in common that take the same Submodels."""
    return (
        description.base_fingerprint,
        description.model_dim,
        description.bottleneck_dim,
        tuple(description.blocks),
        description.residual_weight,
    )


class Pool:
    """The ready rows of all exports that take the same Submodels."""

    def __init__(self, owner, description, is_pinned):
        self.description = description
        self.users = 0
        self.rows = cache.RowCache(
            description.num_values,
            owner.limits.row_cache_bytes,
            is_pinned,
            lambda: owner.metrics.evicted("row"),
        )
        self._owner = owner
        self._flights = {}
        self._refused = {}

    async def acquire(self, version):
        """A `cache.Handle`; many who wait for one Submodel load it once."""
        handle = self.rows.acquire(version)
        if handle is not None:
            self._owner.metrics.hit("row")
            return handle
        self._check_refused(version)
        key = cache.key_of(version)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.create_task(self._fly(version, flight))
        waiter = asyncio.get_running_loop().create_future()
        flight.waiters.append((waiter, version))
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            # The row may have been handed over just before.
            if waiter.done() and not waiter.cancelled():
                if isinstance(waiter.result(), cache.Handle):
                    waiter.result().release()
            raise
        if isinstance(outcome, cache.Handle):
            return outcome
        if isinstance(outcome, errors.ServingError):
            raise errors.again(outcome)
        raise GoneError

    def forget(self, tenant, speaker, keep):
        """Drops a speaker's rows and loads but of the SHA-256 `keep`."""
        self.rows.forget(tenant, speaker, keep)
        for key, flight in self._flights.items():
            if (key.tenant, key.speaker) == (tenant, speaker):
                flight.is_dropped |= key.sha256 != keep

    async def _fly(self, version, flight):
        started = self._owner.clock()
        error = None
        try:
            vector = await self._read(version, flight)
            if flight.is_dropped:
                raise GoneError
            self.rows.insert(version, vector)
            self._owner.metrics.loaded(self._owner.clock() - started)
        except (errors.ServingError, GoneError) as raised:
            error = raised
        except cache.NoRoomError:
            self._owner.metrics.refused("rows")
            error = errors.ServingError(
                errors.Code.RESOURCE_EXHAUSTED,
                f"all {self.rows.num_rows} ready Submodels are in use",
                1.0,
            )
        except Exception:
            logging.exception("a Submodel could not be loaded")
            error = errors.ServingError(
                errors.Code.INTERNAL, "the Submodel could not be loaded"
            )
        del self._flights[cache.key_of(version)]
        for waiter, asked in flight.waiters:
            if not waiter.done():
                waiter.set_result(error or self.rows.acquire(asked))

    async def _read(self, version, flight):
        owner = self._owner
        data = owner.files.get(version)
        tier = "store" if data is None else "file"
        try:
            if data is None:
                self._check_size(version)
                data = await owner.store.call(
                    owner.source.read,
                    version,
                    seconds=owner.limits.store_seconds,
                )
            vector = await owner.parsers.call(
                owner.source.parse, data, self.description
            )
        except (LookupError, FileNotFoundError):
            raise GoneError from None
        except ValueError as raised:
            raise self.refuse(version, raised) from None
        except TimeoutError:
            raise errors.ServingError(
                errors.Code.UNAVAILABLE, "the store does not answer", 1.0
            ) from None
        except OSError:
            logging.exception("the store failed to read a Submodel")
            raise errors.ServingError(
                errors.Code.UNAVAILABLE, "the store fails", 1.0
            ) from None
        owner.metrics.hit(tier)
        if not flight.is_dropped:
            owner.files.put(version, data)
        return vector

    def _check_size(self, version):
        limit = self.rows.row_bytes + _MAX_HEADER_BYTES
        if version.num_bytes > limit:
            raise ValueError(
                f"must have at most {limit} bytes. Received: "
                f"{version.num_bytes}."
            )

    def refuse(self, version, reason):
        """The error for a wrong file, which it gets again for a moment."""
        error = errors.ServingError(
            errors.Code.FAILED_PRECONDITION,
            f"the Submodel of {version.speaker!r}, version "
            f"{version.name}, cannot be used: {reason}",
        )
        now = self._owner.clock()
        # Swept here, where they are made, so that they stay few.
        self._refused = {
            key: entry for key, entry in self._refused.items() if entry[0] > now
        }
        until = now + self._owner.limits.missing_seconds
        self._refused[cache.key_of(version)] = until, error
        return error

    def _check_refused(self, version):
        until, error = self._refused.get(cache.key_of(version), (0.0, None))
        if error is not None and self._owner.clock() < until:
            raise errors.again(error)


class _Flight:
    """One load, and the futures of those who wait for it."""

    def __init__(self):
        self.task = None
        self.waiters = []
        self.is_dropped = False
