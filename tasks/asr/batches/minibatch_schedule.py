"""The minibatches of each speaker, and how they are grouped into steps.

A speaker's minibatches are a pure function of (seed, speaker, step). So a
Submodel sees the same data alone and among thousands, and the position in the
data is no more than each speaker's step count. Grouping decides which
minibatches share a step of the accelerator. It has no memory either, so a run
that resumes from the counts continues exactly as it would have.
"""

import collections
import dataclasses
import itertools
from collections import abc

import numpy as np

from lingvo_like import random_streams


@dataclasses.dataclass(frozen=True)
class Minibatch:
    """One speaker's share of one step.

    Attributes:
        step: the speaker's own, from 0; -1 for evaluation.
        utterances: indices into the speaker's utterances.
        speed_factors: one for each utterance.
        bucket: the padded length in samples.
        num_tokens: the padded length of transcripts, that of the minibatch's
            longest; 0 leaves it to the loader.
    """

    slot: int
    stream_key: str
    step: int
    utterances: tuple[int, ...]
    speed_factors: tuple[float, ...]
    bucket: int
    num_tokens: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Minibatches of one shape can share a step."""
        return self.bucket, self.num_tokens


@dataclasses.dataclass(frozen=True)
class Group:
    """Minibatches of different speakers that share a step.

    Attributes:
        bucket: the padded length of them all, in samples.
        placed: pairs of a place in the step and the minibatch there.
        num_tokens: the padded length of their transcripts; 0 leaves it to the
            loader.
    """

    bucket: int
    placed: tuple[tuple[int, Minibatch], ...]
    num_tokens: int = 0

    @property
    def minibatches(self) -> tuple[Minibatch, ...]:
        return tuple(minibatch for _, minibatch in self.placed)


class MinibatchSchedule:
    """The minibatches of one speaker's utterances.

    Args:
        stream_key: of the random streams; the speaker's id, where the
            utterances are one speaker's.
        num_samples: length of each utterance at the base's sample rate.
        bucket_samples: the base model's function from a length to a bucket.
        place: the speaker's place in every step. Where replicas share steps,
            the places of the first come before those of the next.
        num_tokens: the padded length of each utterance's transcript; empty
            leaves it to the loader.
    """

    def __init__(
        self,
        slot: int,
        stream_key: str,
        num_samples: abc.Iterable[int],
        bucket_samples: abc.Callable[[int], int],
        utterances_per_minibatch: int,
        seed: int,
        speed_factors: abc.Iterable[float] = (1.0,),
        place: int = 0,
        num_tokens: abc.Iterable[int] = (),
    ):
        self.slot = slot
        self.place = place
        self.stream_key = stream_key
        self.num_samples = tuple(num_samples)
        self._bucket_samples = bucket_samples
        self._size = utterances_per_minibatch
        self._seed = seed
        self._speed_factors = tuple(speed_factors)
        self._num_tokens = tuple(num_tokens)
        self._epoch = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.num_samples) // self._size)

    def cost_by_bucket(self) -> dict[int, float]:
        """Padded samples of an average update, by bucket.

        An estimate: utterances have their recorded lengths, and minibatches are
        made of neighbours in length.
        """
        lengths = sorted(self.num_samples, reverse=True)
        result = collections.defaultdict(float)
        for longest in lengths[:: self._size]:
            bucket = self._bucket_samples(longest)
            result[bucket] += bucket / self.steps_per_epoch
        return dict(result)

    def minibatch(self, step: int) -> Minibatch:
        """The speaker's minibatch at its own `step`, from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._draw_epoch(epoch))
        utterances = self._epoch[1][index]
        draw = random_streams.generator(
            "speed", self._seed, self.stream_key, step
        )
        factors = draw.choice(self._speed_factors, len(utterances))
        return self._make(step, utterances, factors.tolist())

    def evaluation_minibatches(self) -> list[Minibatch]:
        """Every utterance once, at its recorded speed and in its bucket."""
        by_bucket = collections.defaultdict(list)
        for index, length in enumerate(self.num_samples):
            by_bucket[self._bucket_samples(length)].append(index)
        return [
            self._make(-1, part, [1.0] * len(part))
            for _, indices in sorted(by_bucket.items())
            for part in self._parts(indices)
        ]

    def _draw_epoch(self, epoch):
        draw = random_streams.generator(
            "epoch", self._seed, self.stream_key, epoch
        )
        order = draw.permutation(len(self.num_samples))
        # The last minibatch is filled from the start of the same order; the
        # utterances are sorted by length so that little of it is padding.
        order = np.resize(order, self.steps_per_epoch * self._size)
        order = sorted(order.tolist(), key=lambda i: self.num_samples[i])
        minibatches = self._parts(order)
        return [minibatches[i] for i in draw.permutation(len(minibatches))]

    def _parts(self, indices):
        size = self._size
        return [indices[i : i + size] for i in range(0, len(indices), size)]

    def _make(self, step, utterances, factors):
        longest = max(
            _stretched(self.num_samples[i], factor)
            for i, factor in zip(utterances, factors, strict=True)
        )
        return Minibatch(
            slot=self.slot,
            stream_key=self.stream_key,
            step=step,
            utterances=tuple(utterances),
            speed_factors=tuple(factors),
            bucket=self._bucket_samples(longest),
            num_tokens=(
                max(self._num_tokens[i] for i in utterances)
                if self._num_tokens
                else 0
            ),
        )


def _stretched(num_samples, factor):
    """An upper bound of an utterance's length after a change of speed."""
    return num_samples if factor == 1.0 else int(num_samples / factor) + 1


def split(group: Group, num_replicas: int, places: int) -> list[Group]:
    """The part of a group that each replica has; some may be empty.

    Args:
        group: its places are those of all replicas, in order.
        places: of each replica.
    """
    parts = [[] for _ in range(num_replicas)]
    for place, minibatch in group.placed:
        parts[place // places].append((place % places, minibatch))
    return [dataclasses.replace(group, placed=tuple(part)) for part in parts]


def training_calls(
    speakers: abc.Mapping[int, MinibatchSchedule],
    steps: abc.Mapping[int, int],
    stop_at: abc.Mapping[int, int],
    places: int,
    steps_per_call: int = 1,
) -> abc.Iterator[list[Group]]:
    """Groups for every minibatch between `steps` and `stop_at`.

    Each group is a function of the counts alone: the speakers furthest behind
    go first, in a bucket that can fill the places. A speaker always has the
    same place, since the place decides how a row's sums are rounded. So what a
    speaker computes is the same to the bit, whoever is beside it.

    Args:
        steps: the speaker's steps so far.
        stop_at: the step to stop before.
        places: speakers of one step, over all replicas.
        steps_per_call: groups that may be handed over at once. Those after the
            first have the bucket of the first, and fill it.

    Yields:
        The groups of a call, each speaker's steps in order. What follows a
        call is a function of the counts after it.
    """
    steps = dict(steps)
    pending = {
        slot: data.minibatch(steps[slot])
        for slot, data in speakers.items()
        if steps[slot] < stop_at[slot]
    }
    call = []
    while pending:
        by_shape = collections.defaultdict(list)
        for slot in sorted(pending, key=lambda slot: (steps[slot], slot)):
            by_shape[pending[slot].shape].append(slot)
        # In the order of the speaker that is furthest behind.
        chosen = {
            shape: {speakers[slot].place: slot for slot in reversed(slots)}
            for shape, slots in by_shape.items()
        }
        full = [s for s, taken in chosen.items() if len(taken) == places]
        shape = full[0] if full else next(iter(by_shape))
        if call:
            last = (call[0].bucket, call[0].num_tokens)
            if len(call) < steps_per_call and last in full:
                shape = last
            else:
                yield call
                call = []
        placed = [(p, pending[slot]) for p, slot in chosen[shape].items()]
        bucket, num_tokens = shape
        call.append(Group(bucket, tuple(placed), num_tokens))
        for slot in chosen[shape].values():
            steps[slot] += 1
            if steps[slot] < stop_at[slot]:
                pending[slot] = speakers[slot].minibatch(steps[slot])
            else:
                del pending[slot]
    if call:
        yield call


def evaluation_groups(
    speakers: abc.Mapping[int, MinibatchSchedule],
) -> list[Group]:
    """Groups that hold every utterance of `speakers` once.

    Each speaker keeps its place, as in training, so that its losses are the
    same to the bit, whoever is beside it.
    """
    queues = collections.defaultdict(lambda: collections.defaultdict(list))
    for data in speakers.values():
        for minibatch in data.evaluation_minibatches():
            queues[minibatch.shape][data.place].append(minibatch)
    groups = []
    for (bucket, num_tokens), of_places in sorted(queues.items()):
        for step in itertools.zip_longest(*of_places.values()):
            placed = tuple(
                (place, minibatch)
                for place, minibatch in zip(of_places, step, strict=True)
                if minibatch is not None
            )
            groups.append(Group(bucket, placed, num_tokens))
    return groups
