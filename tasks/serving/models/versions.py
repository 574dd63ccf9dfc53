"""One loaded version of a model, and all versions of one model."""

import asyncio
import contextlib
import dataclasses
from collections import abc

import numpy as np

from tasks.serving import errors, messages
from tasks.serving.exports import engine as export_engine
from tasks.serving.queueing import batcher as batching
from tasks.serving.submodels import ready

# Ended versions whose status is still told.
_MAX_ENDED = 8


class Leases:
    """Counts those who use something; belongs to one asyncio loop."""

    def __init__(self) -> None:
        self.num_leases = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def lease(self) -> abc.Iterator[None]:
        """Holds a lease until the end of the context."""
        self.num_leases += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.num_leases -= 1
            if self.num_leases == 0:
                self._idle.set()

    async def idle(self) -> None:
        """Returns once nobody has a lease."""
        await self._idle.wait()


@dataclasses.dataclass(eq=False)
class ModelVersion(Leases):
    """One version of a base model that is in memory, open while it is leased.

    Args:
        path: of the export.
        submodels: the ready Submodels that fit it.
        on_close: gives back what the version shares with others.

    Attributes:
        description: of the export.
        base_vector: `[num_values]` float32 zeros, the Submodel that leaves the
            base as it is.
    """

    name: str
    version: int
    path: str
    engine: export_engine.Engine
    batcher: batching.Batcher
    submodels: ready.ReadySubmodels
    on_close: abc.Callable[["ModelVersion"], abc.Awaitable[None]]

    def __post_init__(self) -> None:
        super().__init__()
        self.description = self.engine.description
        self.base_vector = np.zeros(self.description.num_values, np.float32)

    async def close(self) -> None:
        """Gives the engine, its threads and its memory back."""
        await self.batcher.close()
        await self.on_close(self)


@dataclasses.dataclass(eq=False)
class ServedModel:
    """A model by name: its versions, labels and their states.

    Attributes:
        versions: those that serve, by number.
        labels: label to number.
        statuses: by number, the latest change last.
        retry_at: path of an export that did not load to the time from which it
            is tried again.
    """

    config: messages.ModelConfig
    versions: dict[int, ModelVersion] = dataclasses.field(default_factory=dict)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    statuses: dict[int, messages.VersionStatus] = dataclasses.field(
        default_factory=dict
    )
    retry_at: dict[str, float] = dataclasses.field(default_factory=dict)

    def set_state(
        self,
        version: int,
        state: messages.State,
        error: errors.ServingError | None = None,
    ) -> None:
        self.statuses.pop(version, None)
        self.statuses[version] = messages.VersionStatus(version, state, error)
        ended = [
            each.version
            for each in self.statuses.values()
            if each.state is messages.State.END
        ]
        for old in ended[:-_MAX_ENDED]:
            del self.statuses[old]
