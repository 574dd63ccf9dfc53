"""What the steps of a job read: batches for the replicas of this process."""

import os

import numpy as np

from tasks.asr.batches import activation_cache, input_pipeline
from tasks.asr.training import sharding as sharding_lib


class Feed:
    """The minibatches of some speakers.

    Args:
        task: `SubmodelTask`.
        data: dict of slot to `SpeakerUtterances`.
        sharding: `Sharding` of the job.
        speed_factors: tuple of floats to draw from.
        activations: str, the folder of frozen activations.

    Attributes:
        schedules: dict of slot to `MinibatchSchedule`.
    """

    def __init__(self, task, data, sharding, speed_factors, activations):
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
            sharding.places,
            values.utterances_per_speaker,
            task.experiment.augment,
            values.seed,
            sharding.slot_rows,
        )
        self._cache = None
        if values.cache_activations:
            # What else they depend on, besides the recording.
            made_by = (
                f"{base.fingerprint()[:12]}-{task.first_block}-"
                f"{values.compute_dtype}"
            )
            self._cache = activation_cache.ActivationCache(
                os.path.join(activations, made_by),
                task.lower,
                self._loader,
                data,
                base.sample_rate,
                base.model_dim,
                (sharding.places, values.utterances_per_speaker),
            )

    def load(self, groups):
        """Yields for each group a list of the local replicas' batches."""
        return self._load([[group] for group in groups], self._batches)

    def load_calls(self, calls, steps):
        """Yields for each call a list of the local replicas' many batches.

        Args:
            calls: list of lists of groups of one bucket.
            steps: int, the leading axis of the batches; what a call has fewer
                is filled up with anything.
        """
        return self._load(
            calls, lambda call: self._stacked(self._batches(call), steps)
        )

    def _load(self, calls, load):
        calls = [[self._sharding.split(group) for group in c] for c in calls]
        if self._cache:
            self._cache.compute(
                part for call in calls for parts in call for part in parts
            )
        names = {}

        def flat(call):
            """One dict, since that is what the pipeline carries."""
            return {
                names.setdefault((replica, name), f"{replica}/{name}"): array
                for replica, batch in enumerate(load(call))
                for name, array in batch.items()
            }

        for found in input_pipeline.dataset(flat, calls):
            batches = [{} for _ in range(self._sharding.replicas.num_local)]
            for (replica, name), key in names.items():
                batches[replica][name] = found[key]
            yield batches

    def _batches(self, call):
        """The local replicas' batches of a call of one group; a flat list."""
        read = self._cache.batch if self._cache else self._loader.batch
        return [read(part) for parts in call for part in parts]

    def _stacked(self, batches, steps):
        num_local = self._sharding.replicas.num_local
        result = []
        for replica in range(num_local):
            own = batches[replica::num_local]
            own += own[-1:] * (steps - len(own))
            result.append(
                {name: np.stack([b[name] for b in own]) for name in own[0]}
            )
        return result
