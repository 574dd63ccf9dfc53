"""Loads base models: an engine, its queues and the Submodels that fit it."""

import dataclasses
from collections import abc

from tasks.serving import metrics as serving_metrics, threads
from tasks.serving.exports import engine as export_engine
from tasks.serving.models import versions
from tasks.serving.queueing import batcher, limits as serving_limits
from tasks.serving.submodels import provider

_THREADS = 2


@dataclasses.dataclass
class ModelLoader:
    """Loads versions in threads, beside those that serve.

    Args:
        engine_factory: makes a warmed-up engine of an export's path; blocks.
    """

    engine_factory: abc.Callable[[str], export_engine.Engine]
    submodels: provider.SubmodelProvider
    limits: serving_limits.Limits
    metrics: serving_metrics.Metrics

    def __post_init__(self) -> None:
        self._threads = threads.ThreadPool("engines", _THREADS)

    async def load(
        self, name: str, version: int, path: str
    ) -> versions.ModelVersion:
        """Loads a version; it also raises what the factory raises.

        Raises:
            ValueError: the export takes no Submodels, or no row of them fits.
        """
        engine = await self._threads.call(self.engine_factory, path)
        try:
            if engine.description.submodel:
                raise ValueError(
                    f"{path}: one Submodel is folded in; a server needs an "
                    "export that takes Submodels"
                )
            return versions.ModelVersion(
                name,
                version,
                path,
                engine,
                submodels=self.submodels.attach(engine.description),
                batcher=batcher.Batcher(
                    name, engine, self.limits, self.metrics
                ),
                on_close=self._unload,
            )
        except BaseException:
            await self._threads.call(engine.close)
            raise

    def close(self) -> None:
        self._threads.close()

    async def _unload(self, version: versions.ModelVersion) -> None:
        self.submodels.detach(version.submodels)
        await self._threads.call(version.engine.close)
