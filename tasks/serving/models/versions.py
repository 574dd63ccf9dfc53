"""What is known of a base model's versions."""

import asyncio
import contextlib

from tasks.serving import errors, messages

# Ended versions whose status is still told.
_MAX_ENDED = 8


class Model:
    """One loaded version: what `Models` needs to know of it.

    Subclasses override `close`.

    Attributes:
        name, version, path: of the export.
    """

    def __init__(self, name, version, path):
        self.name = name
        self.version = version
        self.path = path
        self._leases = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def lease(self):
        """Keeps the model open meanwhile."""
        self._leases += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if self._leases == 0:
                self._idle.set()

    async def idle(self):
        """Returns once nobody has a lease."""
        await self._idle.wait()

    async def close(self):
        """Gives engine, threads and memory back."""


class Served:
    """The versions of one model."""

    def __init__(self, config):
        self.name = config.name
        self.config = config
        self.models = {}
        self.labels = {}
        self.statuses = {}
        self.retry_at = {}

    def set(self, version, state, error=None):
        self.statuses.pop(version, None)
        self.statuses[version] = messages.VersionStatus(version, state, error)
        ended = [
            each.version
            for each in self.statuses.values()
            if each.state is messages.State.END
        ]
        for old in ended[:-_MAX_ENDED]:
            del self.statuses[old]


def check_configs(configs):
    """Raises INVALID_ARGUMENT unless the configurations make sense."""

    def refuse(message):
        raise errors.ServingError(errors.Code.INVALID_ARGUMENT, message)

    names = [config.name for config in configs]
    if not configs:
        refuse("there must be at least one model")
    for name in names:
        if not name or names.count(name) > 1:
            refuse(f"models must have names of their own. Received: {names}.")
    for config in configs:
        if not config.base_path:
            refuse(f"model {config.name!r}: `base_path` is missing")
        if config.latest < 1:
            refuse(
                f"model {config.name!r}: `latest` must be at least 1. "
                f"Received: {config.latest}."
            )
