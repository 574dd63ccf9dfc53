"""Learns the runs of an enrolment, side by side in one job.

The step is the task's own. All runs take the same number of steps, so those of
one padded length go through in full batches; a run's minibatches are those of
its own key, whoever is beside it.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from lingvo_like import slot_rows, streams
from tasks.asr.data import schedule
from tasks.asr.training import stacks

# Fewer calls than this are not worth a compilation.
_WORTH_COMPILING = 6


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The runs after some of their steps.

    Attributes:
        step: int.
        rows: dict of name to `[runs, ...]`, their Submodels' tensors.
        embeddings: `[runs, embedding_dim]`, or None where there are none.
    """

    step: int
    rows: dict
    embeddings: np.ndarray | None = None


def compiled(function, num_calls):
    """The function, compiled if it is called often enough to gain by it."""
    if num_calls < _WORTH_COMPILING:
        return function
    return tf.function(function, autograph=False)


def on_replicas(replicas, function, num_calls):
    """The function on each replica's own argument.

    Args:
        replicas: `Replicas`.
        function: of a structure of tensors.
        num_calls: int, as `compiled`.

    Returns:
        a function of a list of structures that returns a list.
    """
    if not replicas.is_plain:
        return replicas.replicate(function)
    step = compiled(function, num_calls)
    return lambda arguments: [step(argument) for argument in arguments]


class Learning:
    """Trains the slots of a task.

    Args:
        task: `SubmodelTask` with a slot for each run, in their order.
        runs: list of `Run`.
        speech: `Speech`.
        utterances: int, of each run in a step.
        runs_per_step: int.
        seed: int.
        replicas: `Replicas` that the task was made on. A run is learned by the
            replica whose turn it is by its slot; each keeps a row for all.
    """

    def __init__(
        self, task, runs, speech, utterances, runs_per_step, seed, replicas
    ):
        self._task = task
        self._replicas = replicas
        self._owners = [s % replicas.num_local for s in range(len(runs))]
        self._speech = speech
        self._runs = runs
        self._utterances = utterances
        self._seed = seed
        self._schedules = [
            schedule.SpeakerData(
                slot=slot,
                speaker=run.key,
                # All alike: the utterances of a run have one padded length.
                num_samples=[1] * len(run.train),
                bucket_samples=lambda _, run=run: speech.buckets[run.speaker],
                utterances_per_minibatch=utterances,
                seed=seed,
            )
            for slot, run in enumerate(runs)
        ]
        buckets = self._by_bucket(range(len(runs)))
        self._places = even_places(
            (-(-len(slots) // replicas.num_local) for slots in buckets),
            runs_per_step,
        )
        self._groups = self._grouped(buckets)

    def _by_bucket(self, slots):
        return self._speech.by_bucket(
            slots, lambda slot: self._runs[slot].speaker
        )

    def _grouped(self, buckets):
        """Slots that share a step: for each a list of each replica's own."""
        groups = []
        for slots in buckets:
            of_replicas = [
                [slot for slot in slots if self._owners[slot] == replica]
                for replica in range(self._replicas.num_local)
            ]
            most = max(map(len, of_replicas))
            groups += [
                [own[i : i + self._places] for own in of_replicas]
                for i in range(0, most, self._places)
            ]
        return groups

    @property
    def num_groups(self):
        """How many steps of the job take every run one step further."""
        return len(self._groups)

    def stop(self, speakers):
        """Leaves the speakers' runs as they are from now on."""
        going = (
            slot for group in self._groups for own in group for slot in own
        )
        left = [s for s in going if self._runs[s].speaker not in speakers]
        self._groups = self._grouped(self._by_bucket(left))

    def run(self, steps, progress):
        """Trains all runs, and stops to look at them.

        Args:
            steps: ascending ints, where to stop.
            progress: function called after every step of the job.

        Yields:
            `Snapshot` at each of `steps`.
        """
        step_of_job = on_replicas(
            self._replicas,
            functools.partial(
                type(self._task).train_step.python_function, self._task
            ),
            steps[-1] * len(self._groups),
        )
        before = 0
        for stop in steps:
            for group in self._groups:
                for step in range(before, stop):
                    step_of_job(self._batches(group, step))
                    progress()
            before = stop
            yield self.snapshot(stop)

    def snapshot(self, step):
        """The runs as they are now."""
        if not self._replicas.is_plain:
            self._agree()
        rows = self._task.stack.gather(list(range(len(self._runs))))
        embeddings = getattr(self._task.stack, "embeddings", None)
        return Snapshot(
            step,
            {name: np.asarray(tensor) for name, tensor in rows.items()},
            None if embeddings is None else np.asarray(embeddings),
        )

    def _agree(self):
        """Puts every run's row, which its replica moved, into all copies."""
        rows = slot_rows.SlotRows(len(self._runs), self._owners)
        for name, variable in self._task.state_by_name.items():
            if name.startswith("weight/") and stacks.is_per_slot(
                self._task.stack, name
            ):
                rows.write_all(variable, rows.read_all(variable))

    def _batches(self, group, step):
        """Each replica's batch; one that has nobody gets others, inactive."""
        some = next(own for own in group if own)
        batches = [self._batch(own or some, step) for own in group]
        for own, batch in zip(group, batches, strict=True):
            if not own:
                batch["active"] = tf.zeros_like(batch["active"])
        return batches

    def _batch(self, slots, step):
        items, seeds = [], np.zeros((self._places, 2), np.int32)
        for place, slot in enumerate(slots):
            run = self._runs[slot]
            minibatch = self._schedules[slot].minibatch(step)
            items.append(
                (run.speaker, [run.train[i] for i in minibatch.utterances])
            )
            seeds[place] = streams.stateless_seed(
                "dropout", self._seed, run.key, step
            )
        # An empty place borrows an absent slot and hands it back as it was.
        absent = [s for s in range(len(self._runs)) if s not in slots]
        slots = slots + absent[: self._places - len(slots)]
        batch = self._speech.batch(items, self._places, self._utterances)
        batch |= {
            "slots": np.array(slots, np.int32),
            "active": np.arange(self._places) < len(items),
            "seeds": seeds,
        }
        return {name: tf.constant(value) for name, value in batch.items()}


def even_places(counts, most):
    """How many runs share a step so that all take the least time.

    Args:
        counts: how many there are of each padded length; they never mix.
        most: int, places at most.
    """
    counts = list(counts)

    def cost(places):
        # An empty place costs what a full one does; a step, about one more.
        return sum(-(-count // places) for count in counts) * (places + 1)

    return min(range(min(most, max(counts)), 0, -1), key=cost)
