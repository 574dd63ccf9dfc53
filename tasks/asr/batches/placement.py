"""Where speakers train: places in a step, rows of a stack, replicas."""

import collections

import numpy as np

from lingvo_like import random_streams


def assign_places(num_slots, places):
    """A fixed place for each slot: evenly many, in no order.

    Speakers with long utterances often follow one another at equal distances;
    a place of their own would leave its neighbours empty.

    Returns:
        list of int, by slot.
    """
    order = random_streams.generator("places", num_slots).permutation(num_slots)
    result = [0] * num_slots
    for rank, slot in enumerate(order):
        result[slot] = rank % places
    return result


def in_turn(waiting, present, places):
    """Who comes first where rows are fewer than speakers.

    Args:
        waiting: slots that have no row.
        present: slots that have one.
        places: list by slot of its place among those of all replicas.

    Returns:
        `waiting` as a list, so that places have as many speakers each,
        whoever of them a row is free for.
    """
    counts = collections.Counter(places[slot] for slot in present)
    ranks = []
    for slot in sorted(waiting):
        ranks.append((counts[places[slot]], slot))
        counts[places[slot]] += 1
    return [slot for _, slot in sorted(ranks)]


def assign_replicas(costs, place_of, num_replicas):
    """A fixed replica for each slot, so that all have as much to do.

    Replicas take their steps together, each step of one bucket, and a replica
    that has nobody for the bucket waits. So the heaviest speakers choose first,
    and each takes the replica that has the least of the buckets of this
    speaker, at the speaker's place; none gets more slots than its even share.

    Args:
        costs: list by slot of dicts of bucket to work, as
            `MinibatchSchedule.cost_by_bucket`.
        place_of: list of int, by slot, as `assign_places`.
        num_replicas: int.

    Returns:
        list of int, by slot.
    """
    share = -(-len(costs) // num_replicas)
    column = {
        bucket: i
        for i, bucket in enumerate(sorted(set().union(*map(set, costs))))
    }
    at_place = np.zeros((num_replicas, max(place_of) + 1, len(column)))
    counts = np.zeros(num_replicas, np.int64)
    result = [0] * len(costs)
    by_weight = sorted(
        range(len(costs)), key=lambda slot: (-sum(costs[slot].values()), slot)
    )
    for slot in by_weight:
        load = np.zeros(len(column))
        for bucket, work in costs[slot].items():
            load[column[bucket]] = work
        place = place_of[slot]
        order = np.lexsort(
            (
                at_place.sum(axis=(1, 2)),
                at_place[:, place] @ load,
                counts >= share,
            )
        )
        replica = int(order[0])
        result[slot] = replica
        counts[replica] += 1
        at_place[replica, place] += load
    return result
