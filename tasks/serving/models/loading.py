"""A loaded base model: its engine, its queues and the rows that fit it."""

import asyncio

import numpy as np

from tasks.serving import threads
from tasks.serving.models import versions as model_versions
from tasks.serving.queueing import batcher


class BaseModel(model_versions.Model):
    """One version of a base model that serves.

    Attributes:
        engine: `engine.Engine`.
        description: `export_description.Description`.
        batcher: `batcher.Batcher`.
        pool: `pools.Pool`.
        zeros: `[num_values]` float32, the Submodel that is the base.
    """

    def __init__(self, name, version, path, engine, owner):
        super().__init__(name, version, path)
        self.engine = engine
        self.description = engine.description
        self.pool = owner.submodels.open_pool(self.description)
        self.zeros = np.zeros(self.description.num_values, np.float32)
        self.batcher = batcher.Batcher(
            name,
            engine,
            owner.limits,
            owner.metrics,
            asyncio.get_running_loop(),
        )
        self._owner = owner

    async def close(self):
        await self.batcher.close()
        self._owner.submodels.close_pool(self.pool)
        await self._owner.workers.call(self.engine.close)


class BaseModels:
    """Loads base models in threads, beside those that serve.

    Args:
        engine_factory: function of an export's path that gives an
            `engine.Engine`, warmed up; blocks.
        submodels: `submodels.Submodels`.
        limits: `limits.Limits`.
        metrics: `metrics.Metrics`.
    """

    def __init__(self, engine_factory, submodels, limits, metrics):
        self.submodels = submodels
        self.limits = limits
        self.metrics = metrics
        self.workers = threads.Workers("engines", 2)
        self._engine_factory = engine_factory

    async def load(self, name, version, path):
        """A `BaseModel`; raises what the factory raises."""
        engine = await self.workers.call(self._engine_factory, path)
        try:
            if engine.description.submodel:
                raise ValueError(
                    f"{path}: one Submodel is folded in; a server needs an "
                    "export that takes Submodels"
                )
            return BaseModel(name, version, path, engine, self)
        except BaseException:
            await self.workers.call(engine.close)
            raise

    def close(self):
        self.workers.close()
