"""The replica that trains each speaker, and the speaker's place in a step."""

import dataclasses
from collections import abc

import numpy as np

from lingvo_like.base_models import base_model
from lingvo_like.stack import rows as slot_rows
from params import jobs, schema
from tasks.asr.batches import (
    input_pipeline,
    minibatch_schedule,
    speaker_places,
)
from tasks.asr.data import preparation
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Where each slot of a job is trained.

    It is a function of the data and of the number of replicas alone. So a run
    that resumes finds every speaker at the same place, and one that resumes on
    other replicas distributes the speakers anew.

    Attributes:
        replicas: that share the job.
        places: speakers of one replica in one step.
        places_of: by slot, the speaker's place among those of all replicas:
            `replica * places + place`. The place within the replica does not
            depend on the number of replicas, since it decides how a row's sums
            are rounded.
        slot_rows: where the slots' rows are on the replicas.
    """

    replicas: replicas_lib.Replicas
    places: int
    places_of: list[int]
    slot_rows: slot_rows.SlotRows

    @property
    def all_places(self) -> int:
        """The places that a step has on all replicas."""
        return self.places * self.replicas.num_replicas

    def split(
        self, group: minibatch_schedule.Group
    ) -> list[minibatch_schedule.Group]:
        """The part of a group that each replica of this process has."""
        parts = minibatch_schedule.split(
            group, self.replicas.num_replicas, self.places
        )
        local = self.replicas.local
        return parts[local.start : local.stop]

    def join(self, parts: abc.Sequence[np.ndarray]) -> np.ndarray:
        """The reverse of `split`, for results `[..., places]` of a step.

        Returns:
            `[..., all_places]`, NaN at the places of other processes.
        """
        result = np.full(
            (*parts[0].shape[:-1], self.all_places), np.nan, np.float32
        )
        for replica, part in zip(self.replicas.local, parts, strict=True):
            first = replica * self.places
            result[..., first : first + self.places] = part
        return result

    def own(
        self, group: minibatch_schedule.Group
    ) -> list[tuple[int, minibatch_schedule.Minibatch]]:
        """The places and minibatches of a group that this process has."""
        return [
            (place, minibatch)
            for place, minibatch in group.placed
            if place // self.places in self.replicas.local
        ]


def single(
    num_slots: int, speakers_per_step: int, resident_speakers: int = 0
) -> Sharding:
    """The `Sharding` of a job on one replica; 0 `resident_speakers` for all."""
    places = min(speakers_per_step, num_slots)
    places_of = speaker_places.assign_places(num_slots, places)
    rows = slot_rows.SlotRows(num_slots)
    if 0 < resident_speakers < num_slots:
        rows = slot_rows.PooledRows([0] * num_slots, resident_speakers)
        rows.take(speaker_places.in_turn(range(num_slots), (), places_of))
    return Sharding(replicas_lib.Replicas(), places, places_of, rows)


def shard(
    replicas: replicas_lib.Replicas,
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    num_slots: int | None = None,
) -> Sharding:
    """The `Sharding` of a job.

    Args:
        data: by slot.
        num_slots: where some slots have no data; those of `data` if None.
    """
    values, num_slots = experiment.train, num_slots or len(data)
    num_replicas = replicas.num_replicas
    if num_replicas == 1:
        alone = single(
            num_slots, values.speakers_per_step, values.resident_speakers
        )
        return dataclasses.replace(alone, replicas=replicas)
    places = speaker_places.num_places(values, num_slots, num_replicas)
    place_of = speaker_places.assign_places(num_slots, places)
    replica_of = speaker_places.assign_replicas(
        [
            speaker_schedule(base, values, data[slot]).cost_by_bucket()
            if slot in data
            else {}
            for slot in range(num_slots)
        ],
        place_of,
        num_replicas,
    )
    places_of = [
        r * places + p for r, p in zip(replica_of, place_of, strict=True)
    ]
    if experiment.space.embedding_dim:
        rows = slot_rows.SlotRows(
            num_slots, slot_rows.owners(replica_of, replicas.local)
        )
    else:
        rows = slot_rows.PooledRows(
            replica_of,
            speaker_places.num_rows(values, num_slots, num_replicas),
            replicas.local,
        )
        rows.take(speaker_places.in_turn(range(num_slots), (), places_of))
    return Sharding(replicas, places, places_of, rows)


def steps_per_call(experiment: schema.Experiment, num_replicas: int) -> int:
    """Updates of each speaker that the replicas make in one call."""
    # Replicas that sum within a step cannot do so within a loop of steps.
    if experiment.space.embedding_dim and num_replicas > 1:
        return 1
    return experiment.train.steps_per_call


def speaker_schedule(
    base: base_model.BaseModel,
    values: jobs.Train,
    data: preparation.SpeakerUtterances,
    place: int = 0,
    speed_factors: tuple[float, ...] = (1.0,),
) -> minibatch_schedule.MinibatchSchedule:
    """A speaker's `MinibatchSchedule` in a job."""
    return minibatch_schedule.MinibatchSchedule(
        slot=data.slot,
        stream_key=data.speaker,
        num_samples=data.num_samples(base),
        bucket_samples=base.bucket_samples,
        utterances_per_minibatch=values.utterances_per_speaker,
        seed=values.seed,
        speed_factors=speed_factors,
        place=place,
        # Of a minibatch's own transcripts: no neighbour decides how its sums
        # are rounded.
        num_tokens=[
            input_pipeline.token_bucket([each.tokens], base.max_tokens)
            for each in data.utterances
        ],
    )
