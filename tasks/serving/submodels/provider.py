"""Everyone's Submodels: from a speaker's id to a row that is held."""

import asyncio
import dataclasses
import math
import time
from collections import abc

from absl import logging

from lingvo_like.store import records, store as submodel_store
from tasks.serving import errors, messages, metrics as serving_metrics
from tasks.serving.exports import description as export_description
from tasks.serving.queueing import limits as serving_limits
from tasks.serving.submodels import cache, reader, ready, resolver, source

# Reads of a version whose file is gone, before it counts as lost.
_MAX_TRIES = 3


class SubmodelProvider:
    """Holds, loads, pins and forgets Submodels, for all base models served.

    Runs on one asyncio loop.

    Args:
        submodel_source: None if base models are served without Submodels.
    """

    def __init__(
        self,
        submodel_source: source.StoreSource | None,
        limits: serving_limits.Limits,
        metrics: serving_metrics.Metrics,
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = submodel_source
        self._limits = limits
        self._clock = clock
        self.reader = reader.SubmodelReader(submodel_source, limits, metrics)
        self._resolver = resolver.VersionResolver(
            submodel_source, self.reader.store, limits, self._forget, clock
        )
        self._ready: dict[tuple, ready.ReadySubmodels] = {}
        # By owner: the calls that a pin still depends on; 0 once it stands.
        self._pinned: dict[cache.Owner, int] = {}

    def check_access(self, caller: messages.Caller, speaker: str) -> None:
        """Checks that a caller may use a speaker's Submodel.

        Nothing is looked up, so that a refusal does not tell by its time what
        others have.
        """
        if self._source is None:
            raise errors.failed_precondition(
                "this server has base models only, no store of Submodels"
            )
        try:
            submodel_store.check_id("speaker", speaker)
        except ValueError as error:
            raise errors.invalid_argument(error) from None
        if not caller.allows(speaker):
            raise errors.permission_denied(
                f"this caller may not use the Submodel of {speaker!r}"
            )

    def attach(
        self, description: export_description.Description
    ) -> ready.ReadySubmodels:
        """The ready Submodels of an export, shared with others that they fit.

        Raises:
            ValueError: no row of them fits in `row_cache_bytes`.
        """
        key = ready.key_of(description)
        if key not in self._ready:
            self._ready[key] = ready.ReadySubmodels(
                description,
                self.reader,
                self._pinned.__contains__,
                self._clock,
            )
        self._ready[key].users += 1
        return self._ready[key]

    def detach(self, submodels: ready.ReadySubmodels) -> None:
        """Gives the rows back once the last export that uses them is closed."""
        submodels.users -= 1
        if submodels.users == 0:
            del self._ready[ready.key_of(submodels.description)]

    async def acquire(
        self, submodels: ready.ReadySubmodels, tenant: str, speaker: str
    ) -> cache.RowHandle:
        """A hold of the speaker's current Submodel.

        Raises:
            ServingError: NOT_FOUND; FAILED_PRECONDITION, the file is wrong or
                for another base; UNAVAILABLE; RESOURCE_EXHAUSTED.
        """
        wanted = submodels.description.base_fingerprint
        version, tries = None, 0
        while True:
            before = version
            version = await self._resolver.resolve(tenant, speaker)
            # A Submodel that is replaced while it is read is followed, however
            # often: only reads of the same version count.
            tries = tries + 1 if version == before else 1
            if tries > _MAX_TRIES:
                raise submodels.refuse(version, "its file is not in the store")
            if version.base_fingerprint != wanted:
                raise errors.failed_precondition(
                    f"the Submodel of {speaker!r} is for another base model: "
                    f"the fingerprint must be {wanted[:12]}. Received: "
                    f"{version.base_fingerprint[:12]}."
                )
            try:
                return await submodels.acquire(version)
            except reader.GoneError:
                # Erased or replaced since: ask the store again.
                self._resolver.invalidate(tenant, speaker)

    async def load(self, tenant: str, speaker: str) -> messages.LoadedSubmodel:
        """Makes the speaker's current Submodel ready.

        Raises:
            ServingError: as `acquire`; FAILED_PRECONDITION also if no model
                with its base is served.
        """
        version = await self._resolver.resolve(tenant, speaker)
        base = version.base_fingerprint
        loaded = None
        error = errors.failed_precondition(
            f"no model with the base {base[:12]} of the Submodel of "
            f"{speaker!r} is served"
        )
        for submodels in list(self._ready.values()):
            if submodels.description.base_fingerprint != base:
                continue
            try:
                handle = await self.acquire(submodels, tenant, speaker)
            except errors.ServingError as raised:
                # Exports of one base may take Submodels of other shapes.
                error = raised
                continue
            handle.release()
            # It may be gone again: unloaded or replaced as it was handed over.
            loaded = self._describe(submodels, handle.version)
        if loaded is None:
            raise error
        return loaded

    async def pin(self, tenant: str, speaker: str) -> messages.LoadedSubmodel:
        """Loads a Submodel, and keeps it and the versions after it ready.

        Raises:
            ServingError: as `load`; RESOURCE_EXHAUSTED also if no more may be
                pinned.
        """
        owner = tenant, speaker
        if owner not in self._pinned:
            self._check_may_pin(tenant)
        if self._pinned.get(owner) != 0:
            self._pinned[owner] = self._pinned.get(owner, 0) + 1
        try:
            loaded = await self.load(tenant, speaker)
        except BaseException:
            # Other calls for the same pin may still succeed.
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

    def unload(self, tenant: str, speaker: str) -> None:
        """Unpins a Submodel and drops it, once nothing uses it."""
        owner = tenant, speaker
        self._pinned.pop(owner, None)
        self.reader.files.forget(owner)
        for submodels in self._ready.values():
            submodels.rows.forget(owner)

    def loaded(self, tenant: str) -> list[messages.LoadedSubmodel]:
        """The tenant's ready Submodels."""
        return [
            self._describe(submodels, version)
            for submodels in self._ready.values()
            for version in submodels.rows.versions()
            if version.tenant == tenant
        ]

    async def run(self) -> None:
        """Looks for new and erased versions of what nobody asks for."""
        left: list[cache.Owner] = []
        per_tick, limits = 0, self._limits
        while True:
            await asyncio.sleep(limits.watch_seconds)
            if not left:
                left = list(self._owners())
                ticks = max(1.0, limits.stale_seconds / limits.watch_seconds)
                per_tick = math.ceil(len(left) / ticks)
            for _ in range(min(per_tick, len(left))):
                await self._resolver.refresh(left.pop())
            for tenant, speaker in list(self._pinned):
                try:
                    await self.load(tenant, speaker)
                except errors.ServingError as error:
                    logging.warning("a pinned Submodel: %s", error.code.name)
                if (tenant, speaker) not in self._pinned:
                    # It was unloaded meanwhile, and the load must not undo it.
                    self.unload(tenant, speaker)

    def close(self) -> None:
        self.reader.close()

    @property
    def row_bytes(self) -> int:
        return sum(each.rows.num_bytes for each in self._ready.values())

    def _check_may_pin(self, tenant: str) -> None:
        num_rows = min(
            (each.rows.num_rows for each in self._ready.values()), default=0
        )
        room = int(self._limits.pinned_share * num_rows)
        # At least one: a share of few rows is not nothing.
        share = min(room, max(1, int(self._limits.tenant_share * room)))
        of_tenant = sum(owner == tenant for owner, _ in self._pinned)
        for count, limit, whose in (
            (of_tenant, share, "of this tenant "),
            (len(self._pinned), room, ""),
        ):
            if count >= limit:
                raise errors.resource_exhausted(
                    f"no more Submodels {whose}may be pinned than the {count} "
                    "that are; unload one"
                )

    def _owners(self) -> set[cache.Owner]:
        """Everyone of whom there is a file or a row."""
        return self.reader.files.owners().union(
            source.owner_of(version)
            for submodels in self._ready.values()
            for version in submodels.rows.versions()
        )

    def _forget(
        self, owner: cache.Owner, current: records.Version | None
    ) -> None:
        """Drops what the store no longer stands by."""
        keep = None if current is None else current.sha256
        if current is None:
            self._pinned.pop(owner, None)
        self.reader.files.forget(owner, keep)
        for submodels in self._ready.values():
            submodels.forget(owner, keep)

    def _describe(
        self, submodels: ready.ReadySubmodels, version: records.Version
    ) -> messages.LoadedSubmodel:
        return messages.LoadedSubmodel(
            submodel_id=version.speaker,
            submodel_version=version.name,
            base_fingerprint=version.base_fingerprint,
            num_bytes=submodels.rows.row_bytes,
            pinned=source.owner_of(version) in self._pinned,
            in_use=submodels.rows.holders(version),
        )
