"""Where speakers train: places in a step, rows of a stack, replicas."""

import collections
from collections import abc

import numpy as np

from lingvo_like import random_streams
from params import jobs


def num_places(values: jobs.Train, num_slots: int, num_replicas: int) -> int:
    """Places of each replica in a step; none stays empty in a small job."""
    return min(values.speakers_per_step, -(-num_slots // num_replicas))


def num_rows(values: jobs.Train, num_slots: int, num_replicas: int) -> int:
    """Rows that each replica has for slots of its own."""
    share = -(-num_slots // num_replicas)
    if not values.resident_speakers:
        return share
    resident = -(-values.resident_speakers // num_replicas)
    return min(max(resident, values.speakers_per_step), share)


def assign_places(num_slots: int, places: int) -> list[int]:
    """A fixed place for each slot, by slot: evenly many, at random.

    In order they would not do. Speakers with long utterances often follow one
    another at equal distances, and would all share one place.
    """
    order = random_streams.generator("places", num_slots).permutation(num_slots)
    result = [0] * num_slots
    for rank, slot in enumerate(order):
        result[slot] = rank % places
    return result


def in_turn(
    waiting: abc.Iterable[int],
    present: abc.Iterable[int],
    places: abc.Sequence[int],
) -> list[int]:
    """The order in which speakers get rows, where rows are scarce.

    Args:
        waiting: slots that have no row.
        present: slots that have one.
        places: by slot, its place among those of all replicas.

    Returns:
        `waiting`, ordered so that all places have equally many speakers.
    """
    counts = collections.Counter(places[slot] for slot in present)
    ranks = []
    for slot in sorted(waiting):
        ranks.append((counts[places[slot]], slot))
        counts[places[slot]] += 1
    return [slot for _, slot in sorted(ranks)]


def assign_replicas(
    costs: abc.Sequence[abc.Mapping[int, float]],
    place_of: abc.Sequence[int],
    num_replicas: int,
) -> list[int]:
    """A fixed replica for each slot, by slot, so that work is even.

    Replicas take their steps together, each step of one bucket, and a replica
    that has no speaker for the bucket waits. So the most expensive speakers
    choose first. Each takes the replica that has the least work in the
    speaker's buckets at the speaker's place. No replica gets more slots than
    its even share.

    Args:
        costs: by slot, `MinibatchSchedule.cost_by_bucket`.
        place_of: by slot, from `assign_places`.
    """
    share = -(-len(costs) // num_replicas)
    buckets = sorted(set().union(*costs))
    at_place = np.zeros((num_replicas, max(place_of) + 1, len(buckets)))
    counts = np.zeros(num_replicas, np.int64)
    result = [0] * len(costs)
    by_weight = sorted(
        range(len(costs)), key=lambda slot: (-sum(costs[slot].values()), slot)
    )
    for slot in by_weight:
        load = np.array([costs[slot].get(bucket, 0.0) for bucket in buckets])
        place = place_of[slot]
        in_all, beside = at_place.sum(axis=(1, 2)), at_place[:, place] @ load
        replica = int(np.lexsort((in_all, beside, counts >= share))[0])
        result[slot] = replica
        counts[replica] += 1
        at_place[replica, place] += load
    return result
