"""Learns the runs of an enrolment, side by side in one job.

The step is the task's own. Runs whose next minibatches have one padded length
share it; a run's minibatches are those of its own key, whoever is beside it.
"""

import collections
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from lingvo_like import random_streams
from lingvo_like.stack import rows as slot_rows
from tasks.asr.batches import schedule

# Fewer steps than this are not worth a compilation.
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


def on_replicas(replicas, function, is_compiled):
    """The function on each replica's own argument.

    Args:
        replicas: `Replicas`.
        function: of a structure of tensors.
        is_compiled: bool, where there is one replica; several always are.

    Returns:
        a function of a list of structures that returns a list.
    """
    if not replicas.is_plain:
        return replicas.replicate(function)
    step = function
    if is_compiled:
        step = tf.function(function, autograph=False)
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
            schedule.MinibatchSchedule(
                slot=slot,
                stream_key=run.key,
                num_samples=[
                    speech.num_samples[run.speaker][i] for i in run.train
                ],
                bucket_samples=functools.partial(
                    speech.bucket_samples, run.speaker
                ),
                utterances_per_minibatch=utterances,
                seed=seed,
            )
            for slot, run in enumerate(runs)
        ]
        self._going = list(range(len(runs)))
        first = collections.Counter(
            each.minibatch(0).bucket for each in self._schedules
        )
        self._most = max(first.values())
        self._places = even_places(
            (-(-count // replicas.num_local) for count in first.values()),
            runs_per_step,
        )

    @property
    def num_going(self):
        """How many runs have not been stopped."""
        return len(self._going)

    def stop(self, speakers):
        """Leaves the speakers' runs as they are from now on."""
        self._going = [
            slot
            for slot in self._going
            if self._runs[slot].speaker not in speakers
        ]

    def run(self, steps, progress):
        """Trains all runs, and stops to look at them.

        Args:
            steps: ascending ints, where to stop.
            progress: function called after every step of the job with how
                many runs it took a step further.

        Yields:
            `Snapshot` at each of `steps`.
        """
        step_of_job = on_replicas(
            self._replicas,
            functools.partial(
                type(self._task).train_step.python_function, self._task
            ),
            steps[-1] * self._most > (_WORTH_COMPILING - 1) * self._places,
        )
        before = 0
        for stop in steps:
            for group in self._groups(before, stop):
                step_of_job(self._batches(group))
                progress(sum(map(len, group)))
            before = stop
            yield self.snapshot(stop)

    def _groups(self, before, stop):
        """Yields, for each step of the job, each replica's minibatches.

        All of one padded length: that of the run furthest behind, so that no
        rare length is left to runs that have nobody beside them at the end.
        """
        waiting = {
            slot: self._schedules[slot].minibatch(before)
            for slot in self._going
            if before < stop
        }
        while waiting:
            by_bucket = collections.defaultdict(list)
            for each in sorted(waiting.values(), key=lambda each: each.step):
                by_bucket[each.bucket].append(each)
            chosen = min(
                by_bucket.values(), key=lambda each: (each[0].step, -len(each))
            )
            group = [
                [m for m in chosen if self._owners[m.slot] == replica][
                    : self._places
                ]
                for replica in range(self._replicas.num_local)
            ]
            yield group
            for taken in (m for own in group for m in own):
                del waiting[taken.slot]
                if taken.step + 1 < stop:
                    waiting[taken.slot] = self._schedules[taken.slot].minibatch(
                        taken.step + 1
                    )

    def snapshot(self, step):
        """The runs as they are now."""
        if not self._replicas.is_plain:
            self._agree()
        rows = self._task.stack.select(list(range(len(self._runs))))
        embeddings = getattr(self._task.stack, "embeddings", None)
        return Snapshot(
            step,
            {name: np.asarray(tensor) for name, tensor in rows.items()},
            None if embeddings is None else np.asarray(embeddings),
        )

    def _agree(self):
        """Puts every run's row, which its replica moved, into all copies."""
        rows = slot_rows.SlotRows(len(self._runs), self._owners)
        shared_names = self._task.shared_names
        for name, variable in self._task.state_by_name.items():
            if name.startswith("weight/") and name not in shared_names:
                rows.write_all(variable, rows.read_all(variable))

    def _batches(self, group):
        """Each replica's batch; one that has nobody gets others, inactive."""
        some = next(own for own in group if own)
        batches = [self._batch(own or some) for own in group]
        for own, batch in zip(group, batches, strict=True):
            if not own:
                batch["active"] = tf.zeros_like(batch["active"])
        return batches

    def _batch(self, minibatches):
        items, seeds = [], np.zeros((self._places, 2), np.int32)
        for place, minibatch in enumerate(minibatches):
            run = self._runs[minibatch.slot]
            items.append(
                (run.speaker, [run.train[i] for i in minibatch.utterances])
            )
            seeds[place] = random_streams.stateless_seed(
                "dropout", self._seed, run.key, minibatch.step
            )
        slots = [minibatch.slot for minibatch in minibatches]
        # An empty place borrows an absent slot and hands it back as it was.
        absent = [s for s in range(len(self._runs)) if s not in slots]
        slots = slots + absent[: self._places - len(slots)]
        batch = self._speech.batch(
            items, self._places, self._utterances, minibatches[0].bucket
        )
        batch |= {
            "row_indices": np.array(slots, np.int32),
            "active": np.arange(self._places) < len(items),
            "seeds": seeds,
        }
        return {name: tf.constant(value) for name, value in batch.items()}


def even_places(counts, most):
    """How many rows share a step so that all take the least time.

    Args:
        counts: how many there are of each padded length; they never mix.
        most: int, places at most.
    """
    counts = list(counts)

    def cost(places):
        # An empty place costs what a full one does; a step, about one more.
        return sum(-(-count // places) for count in counts) * (places + 1)

    return min(range(min(most, max(counts)), 0, -1), key=cost)
