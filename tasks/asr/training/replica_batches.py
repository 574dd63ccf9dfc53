"""Batches for the replicas of this process."""

import os
from collections import abc
from typing import Any

import numpy as np

from tasks.asr.batches import (
    activation_cache,
    input_pipeline,
    minibatch_schedule,
)
from tasks.asr.data import preparation
from tasks.asr.training import sharding as sharding_lib, task as task_lib

Batches = list[dict[str, Any]]


class Feed:
    """The minibatches of some speakers.

    Args:
        data: by slot.
        activations: folder of the frozen activations.
        lost: grows by the slots whose recordings cannot be read any more, with
            the reason. Their places stay empty.
        pause: called where activations are computed for long; may raise.

    Attributes:
        schedules: `MinibatchSchedule` by slot.
    """

    def __init__(
        self,
        task: task_lib.SubmodelTask,
        data: abc.Mapping[int, preparation.SpeakerUtterances],
        sharding: sharding_lib.Sharding,
        speed_factors: tuple[float, ...],
        activations: str,
        lost: dict[int, str] | None = None,
        pause: abc.Callable[[], object] = lambda: None,
    ):
        self._pause = pause
        base, values = task.base, task.experiment.train
        self._sharding = sharding
        self.schedules = {
            slot: sharding_lib.speaker_schedule(
                base,
                values,
                each,
                sharding.places_of[slot],
                speed_factors,
            )
            for slot, each in data.items()
        }
        self._loader = input_pipeline.Loader(
            data,
            base.sample_rate,
            base.max_tokens,
            base.languages,
            sharding.places,
            values.utterances_per_speaker,
            task.experiment.augment,
            values.seed,
            sharding.slot_rows,
            lost,
        )
        self._cache = None
        if values.cache_activations:
            # They depend on more than the recording.
            made_by = (
                f"{base.fingerprint()[:12]}-{task.first_block}-"
                f"{values.compute_dtype}"
            )
            self._cache = activation_cache.ActivationCache(
                os.path.join(activations, made_by),
                task.lower,
                self._loader,
                base.model_dim,
            )

    def load(
        self, groups: abc.Iterable[minibatch_schedule.Group]
    ) -> abc.Iterator[Batches]:
        """Yields the batches of a group, one for each local replica."""
        return self._load([[group] for group in groups], self._batches)

    def load_calls(
        self,
        calls: abc.Sequence[abc.Sequence[minibatch_schedule.Group]],
        steps: int,
    ) -> abc.Iterator[Batches]:
        """Yields the batches of a call, stacked, one for each local replica.

        Args:
            calls: groups of one bucket, at most `steps` of them.
            steps: the leading axis of the batches; the last group of a shorter
                call fills it up.
        """
        return self._load(
            calls, lambda call: self._stacked(self._batches(call), steps)
        )

    def _load(self, calls, load):
        calls = [[self._sharding.split(group) for group in c] for c in calls]
        if self._cache:
            self._cache.compute(
                (part for call in calls for parts in call for part in parts),
                self._pause,
            )

        def flat(call: Any) -> dict[str, np.ndarray]:
            """One dict, since the pipeline carries nothing else."""
            return {
                f"{replica}/{name}": array
                for replica, batch in enumerate(load(call))
                for name, array in batch.items()
            }

        for found in input_pipeline.dataset(flat, calls):
            batches = [{} for _ in range(self._sharding.replicas.num_local)]
            for key, tensor in found.items():
                replica, name = key.split("/")
                batches[int(replica)][name] = tensor
            yield batches

    def _batches(self, call):
        """The local replicas' batches of a call of one group; a flat list."""
        read = self._cache.batch if self._cache else self._loader.batch
        return [read(part) for parts in call for part in parts]

    def _stacked(self, batches, steps):
        num_local = self._sharding.replicas.num_local
        for replica in range(num_local):
            own = batches[replica::num_local]
            own += own[-1:] * (steps - len(own))
            yield {name: np.stack([b[name] for b in own]) for name in own[0]}
