"""From a speaker to a ready row: resolve, read, check, keep, forget."""

import asyncio
import dataclasses
import math
import time

from absl import logging

from tasks.serving import errors, messages, threads
from tasks.serving.submodels import cache, pools, resolver

_TICK_SECONDS = 0.5
# How often a version is read whose file is gone, before it counts as lost.
_MAX_TRIES = 3


class Submodels:
    """Everyone's Submodels, for the base models that are loaded.

    Runs on one asyncio loop; the store is called in threads of its own, and
    so are files read, so that neither waits for the other.

    Args:
        source: `loader.StoreSource`.
        limits: `limits.Limits`.
        metrics: `metrics.Metrics`.
        clock: function that gives monotonic seconds.
    """

    def __init__(self, source, limits, metrics, clock=time.monotonic):
        self.source = source
        self.limits = limits
        self.metrics = metrics
        self.clock = clock
        self.store = threads.Workers("store", limits.store_threads)
        self.parsers = threads.Workers("parse", limits.parse_threads)
        self.files = cache.FileCache(
            limits.file_cache_bytes, lambda: metrics.evicted("file")
        )
        self._resolver = resolver.Resolver(
            source, self.store, limits, self._answered, clock
        )
        self._pools = {}
        # Of each pinned one, the calls that it still hangs on; 0 for good.
        self._pinned = {}

    def check_user(self, caller, speaker):
        """Whether a caller may use a speaker's Submodel, looking nothing up.

        Raises:
            status.ServingError: INVALID_ARGUMENT not an id; PERMISSION_DENIED;
                FAILED_PRECONDITION there are no Submodels here.
        """
        if self.source is None:
            raise errors.ServingError(
                errors.Code.FAILED_PRECONDITION,
                "this server has base models alone, no store of Submodels",
            )
        try:
            self.source.check_id("speaker", speaker)
        except ValueError as error:
            raise errors.ServingError(
                errors.Code.INVALID_ARGUMENT, str(error)
            ) from None
        if not caller.allows(speaker):
            raise errors.ServingError(
                errors.Code.PERMISSION_DENIED,
                f"this caller may not use the Submodel of {speaker!r}",
            )

    def open_pool(self, description):
        """The `Pool` of an export, which others that fit it share."""
        key = pools.key_of(description)
        if key not in self._pools:
            self._pools[key] = pools.Pool(self, description, self._is_pinned)
        self._pools[key].users += 1
        return self._pools[key]

    def close_pool(self, pool):
        """Gives the rows back when the last export that uses them closes."""
        pool.users -= 1
        if pool.users == 0:
            del self._pools[pools.key_of(pool.description)]

    async def acquire(self, pool, tenant, speaker):
        """A `cache.Handle` of the speaker's current Submodel.

        Raises:
            status.ServingError: NOT_FOUND, FAILED_PRECONDITION (not right, or
                for another base), UNAVAILABLE, RESOURCE_EXHAUSTED.
        """
        version, tries = None, 0
        # A Submodel that is replaced as it is read is followed, however
        # often: each turn is one more that was published meanwhile.
        while tries < _MAX_TRIES:
            before = version
            version = await self._resolver.resolve(tenant, speaker)
            tries = tries + 1 if version == before else 1
            if version.base_fingerprint != pool.description.base_fingerprint:
                raise _wrong_base(speaker, version, pool.description)
            try:
                return await pool.acquire(version)
            except pools.GoneError:
                # Erased or replaced since: ask the store again.
                self._resolver.invalidate(tenant, speaker)
        raise pool.refuse(version, "its file is not in the store")

    async def load(self, tenant, speaker):
        """Makes the current Submodel ready: `messages.LoadedSubmodel`."""
        version = await self._resolver.resolve(tenant, speaker)
        fitting = [
            pool
            for pool in self._pools.values()
            if pool.description.base_fingerprint == version.base_fingerprint
        ]
        if not fitting:
            raise errors.ServingError(
                errors.Code.FAILED_PRECONDITION,
                f"no model with the base {version.base_fingerprint[:12]} of "
                f"the Submodel of {speaker!r} is served",
            )
        loaded, error = None, None
        for pool in fitting:
            try:
                handle = await self.acquire(pool, tenant, speaker)
            except errors.ServingError as raised:
                # Exports of one base may take Submodels of other shapes.
                error = raised
                continue
            version = handle.version
            handle.release()
            # It may be gone again: unloaded or replaced as it was handed over.
            loaded = self._describe(pool, cache.key_of(version), version)
        if loaded is None:
            raise error
        return loaded

    async def pin(self, tenant, speaker):
        """Loads it, and keeps it and the versions that follow ready."""
        owner = tenant, speaker
        if owner not in self._pinned:
            self._check_room_to_pin(tenant)
        if self._pinned.get(owner) != 0:
            self._pinned[owner] = self._pinned.get(owner, 0) + 1
        try:
            loaded = await self.load(tenant, speaker)
        except BaseException:
            # Others that ask for the same may still come through.
            calls = self._pinned.get(owner, 0)
            if calls > 1:
                self._pinned[owner] = calls - 1
            elif calls:
                del self._pinned[owner]
            raise
        is_pinned = owner in self._pinned
        if is_pinned:
            self._pinned[owner] = 0
        return dataclasses.replace(loaded, pinned=is_pinned)

    def _check_room_to_pin(self, tenant):
        rows = min(
            (pool.rows.num_rows for pool in self._pools.values()), default=0
        )
        room = int(self.limits.pinned_share * rows)
        # At least one: a share of few rows is not nothing.
        share = min(room, max(1, int(self.limits.tenant_share * room)))
        mine = sum(owner == tenant for owner, _ in self._pinned)
        for count, most, whose in (
            (mine, share, "of this tenant "),
            (len(self._pinned), room, ""),
        ):
            if count >= most:
                raise errors.ServingError(
                    errors.Code.RESOURCE_EXHAUSTED,
                    f"{count} Submodels {whose}are pinned, which is all that "
                    "may be; unload one",
                )

    def unload(self, tenant, speaker):
        """Drops it from memory, once nothing uses it."""
        self._pinned.pop((tenant, speaker), None)
        self.files.forget(tenant, speaker)
        for pool in self._pools.values():
            pool.rows.forget(tenant, speaker)

    def list(self, tenant):
        """The tenant's ready Submodels, `messages.LoadedSubmodel`."""
        return [
            self._describe(pool, key, pool.rows.version(key))
            for pool in self._pools.values()
            for key in pool.rows.keys()
            if key.tenant == tenant
        ]

    async def run(self):
        """Looks for erased and for new versions of what nobody asks for."""
        owners = []
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if not owners:
                owners = self._owners()
                share = math.ceil(
                    len(owners) * _TICK_SECONDS / self.limits.sweep_seconds
                )
            for _ in range(min(share, len(owners))):
                await self._resolver.refresh(*owners.pop())
            for tenant, speaker in list(self._pinned):
                try:
                    await self.load(tenant, speaker)
                except errors.ServingError as error:
                    logging.warning("a pinned Submodel: %s", error.code.name)
                if (tenant, speaker) not in self._pinned:
                    # Unloaded meanwhile, which the load must not undo.
                    self.unload(tenant, speaker)

    def close(self):
        self.store.close()
        self.parsers.close()

    @property
    def row_bytes(self):
        return sum(pool.rows.num_bytes for pool in self._pools.values())

    def _owners(self):
        found = self.files.owners()
        for pool in self._pools.values():
            found |= pool.rows.owners()
        return list(found)

    def _is_pinned(self, key):
        return (key.tenant, key.speaker) in self._pinned

    def _answered(self, tenant, speaker, version):
        """What the store says now is all that is kept."""
        keep = version.sha256 if version is not None else None
        if version is None:
            self._pinned.pop((tenant, speaker), None)
        self.files.forget(tenant, speaker, keep)
        for pool in self._pools.values():
            pool.forget(tenant, speaker, keep)

    def _describe(self, pool, key, version):
        return messages.LoadedSubmodel(
            submodel_id=key.speaker,
            submodel_version=version.name,
            base_fingerprint=version.base_fingerprint,
            num_bytes=pool.rows.row_bytes,
            pinned=self._is_pinned(key),
            in_use=pool.rows.holders(key),
        )


def _wrong_base(speaker, version, description):
    return errors.ServingError(
        errors.Code.FAILED_PRECONDITION,
        f"the Submodel of {speaker!r} is for another base model: the "
        f"fingerprint must be {description.base_fingerprint[:12]}. Received: "
        f"{version.base_fingerprint[:12]}.",
    )
