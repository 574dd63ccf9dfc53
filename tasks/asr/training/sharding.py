"""Who trains where: the slots of a job on the replicas that share it."""

import dataclasses

from lingvo_like.stack import rows as slot_rows
from tasks.asr.batches import placement, schedule
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Sharding:
    """The fixed whereabouts of every slot of a job.

    They are a function of the data and of the number of replicas alone, so a
    run that goes on finds everybody where they were, and one that goes on
    with other replicas spreads them anew.

    Attributes:
        replicas: `Replicas`.
        places: int, speakers of one replica in one step.
        places_of: list by slot, the speaker's place among those of all
            replicas: `replica * places + place`. The place of a speaker in
            its replica is the same for any number of replicas, since it
            decides how a row's sums are rounded.
        slot_rows: `SlotRows`, where the slots' rows are on the replicas.
    """

    replicas: replicas_lib.Replicas
    places: int
    places_of: list
    slot_rows: slot_rows.SlotRows

    @property
    def all_places(self):
        """How many places a step has on all replicas."""
        return self.places * self.replicas.num_replicas

    def is_local(self, place):
        """Whether a place of a step is on a replica of this process."""
        return place // self.places in self.replicas.local

    def split(self, group):
        """A `Group` as a list of those of this process's replicas."""
        parts = schedule.split(group, self.replicas.num_replicas, self.places)
        local = self.replicas.local
        return parts[local.start : local.stop]


def single(num_slots, speakers_per_step, resident_speakers=0):
    """The `Sharding` of a job on one replica.

    Args:
        num_slots: int.
        speakers_per_step: int.
        resident_speakers: int, slots that have rows at a time; 0 for all.
    """
    places = min(speakers_per_step, num_slots)
    places_of = placement.assign_places(num_slots, places)
    rows = slot_rows.SlotRows(num_slots)
    if 0 < resident_speakers < num_slots:
        rows = slot_rows.PooledRows([0] * num_slots, resident_speakers)
        rows.take(placement.in_turn(range(num_slots), (), places_of))
    return Sharding(replicas_lib.Replicas(), places, places_of, rows)


def shard(replicas, base, experiment, data):
    """The `Sharding` of a job.

    Args:
        replicas: `Replicas`.
        base: `BaseModel`, whose buckets say what a speaker costs.
        experiment: `schema.Experiment`.
        data: dict of slot to `SpeakerUtterances`, every slot of the job.

    """
    values, num_slots = experiment.train, len(data)
    num_replicas = replicas.num_replicas
    if num_replicas == 1:
        alone = single(
            num_slots, values.speakers_per_step, values.resident_speakers
        )
        return dataclasses.replace(alone, replicas=replicas)
    places = num_places(values, num_slots, num_replicas)
    place_of = placement.assign_places(num_slots, places)
    replica_of = placement.assign_replicas(
        [
            speaker_schedule(base, values, data[slot]).cost_by_bucket()
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
            num_rows(values, num_slots, num_replicas),
            replicas.local,
        )
        rows.take(placement.in_turn(range(num_slots), (), places_of))
    return Sharding(replicas, places, places_of, rows)


def num_places(values, num_slots, num_replicas):
    """Places that each replica has in a step; a job of few leaves none empty.

    Args:
        values: `schema.Train`.
        num_slots: int, of the job.
        num_replicas: int.
    """
    return min(values.speakers_per_step, -(-num_slots // num_replicas))


def num_rows(values, num_slots, num_replicas):
    """Rows that each replica has for slots of its own.

    Args:
        values, num_slots, num_replicas: as `num_places`'.
    """
    share = -(-num_slots // num_replicas)
    if not values.resident_speakers:
        return share
    resident = -(-values.resident_speakers // num_replicas)
    return min(max(resident, values.speakers_per_step), share)


def steps_per_call(experiment, num_replicas):
    """Updates of each speaker that the replicas take in one call."""
    # Replicas that meet within a step cannot do so within a loop of steps.
    if experiment.space.embedding_dim and num_replicas > 1:
        return 1
    return experiment.train.steps_per_call


def speaker_schedule(base, values, data, place=0, speed_factors=(1.0,)):
    """A speaker's `MinibatchSchedule` in a job.

    Args:
        base: `BaseModel`.
        values: `schema.Train`.
        data: `SpeakerUtterances`.
        place: int.
        speed_factors: as `MinibatchSchedule`'s.
    """
    return schedule.MinibatchSchedule(
        slot=data.slot,
        stream_key=data.speaker,
        num_samples=data.num_samples(base.sample_rate),
        bucket_samples=base.bucket_samples,
        utterances_per_minibatch=values.utterances_per_speaker,
        seed=values.seed,
        speed_factors=speed_factors,
        place=place,
    )
