"""Trains the runs of an enrolment side by side in one job.

The step is the task's own. Runs whose next minibatches have one padded length
share a step. A run's minibatches depend on its own key alone, whoever shares
its steps.
"""

import collections
import dataclasses
import functools
from collections import abc

import numpy as np
import tensorflow as tf

from lingvo_like import random_streams
from lingvo_like.stack import rows as slot_rows
from tasks.asr.batches import minibatch_schedule
from tasks.asr.enrolment import activations as activations_lib, plan
from tasks.asr.training import task as task_lib
from tpu.distribute import replicas as replicas_lib

# Fewer steps than this are not worth a compilation.
_WORTH_COMPILING = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """All runs after some of their steps.

    Attributes:
        rows: dict of name to the Submodels' tensors `[runs, ...]`.
        embeddings: `[runs, embedding_dim]`, or None for runs without a space.
    """

    step: int
    rows: dict[str, np.ndarray]
    embeddings: np.ndarray | None = None


class Learning:
    """Trains the slots of a task.

    Args:
        task: a task with a slot for each run, in their order.
        utterances: of a run in each step.
        replicas: the replicas that the task was made on. They take turns: a
            run's slot says which of them trains it. Each keeps a row for all.
    """

    def __init__(
        self,
        task: task_lib.SubmodelTask,
        runs: list[plan.Run],
        speech: activations_lib.Speech,
        utterances: int,
        values: plan.Values,
        replicas: replicas_lib.Replicas,
    ):
        self.task = task
        self.runs = runs
        self.speech = speech
        self._replicas = replicas
        self._owners = [s % replicas.num_local for s in range(len(runs))]
        self._utterances = utterances
        self._seed = values.seed
        self._schedules = [
            minibatch_schedule.MinibatchSchedule(
                slot=slot,
                stream_key=run.key,
                num_samples=[
                    speech.num_samples[run.speaker][i] for i in run.train
                ],
                bucket_samples=functools.partial(
                    speech.bucket_samples, run.speaker
                ),
                utterances_per_minibatch=utterances,
                seed=values.seed,
            )
            for slot, run in enumerate(runs)
        ]
        self._going = list(range(len(runs)))
        buckets = [each.minibatch(0).bucket for each in self._schedules]
        counts = collections.Counter(buckets).values()
        self._most = max(counts)
        self._places = plan.even_places(
            [-(-count // replicas.num_local) for count in counts],
            values.runs_per_step,
        )

    @property
    def num_going(self) -> int:
        """Number of runs that have not been stopped."""
        return len(self._going)

    def stop(self, speakers: abc.Container[str]) -> None:
        """Leaves the speakers' runs as they are from now on."""
        self._going = [
            slot
            for slot in self._going
            if self.runs[slot].speaker not in speakers
        ]

    def run(
        self, steps: list[int], progress: abc.Callable[[int], object]
    ) -> abc.Iterator[Snapshot]:
        """Trains all runs and pauses at some steps.

        Args:
            steps: ascending steps; each yields a snapshot.
            progress: called after every step of the job with the number of
                runs that it trained.
        """
        step = functools.partial(
            type(self.task).train_step.python_function, self.task
        )
        if steps[-1] * self._most > (_WORTH_COMPILING - 1) * self._places:
            step = tf.function(step, autograph=False)
        train = self._replicas.replicate(step)
        before = 0
        for stop in steps:
            for group in self._groups(before, stop):
                train(self._batches(group))
                progress(sum(map(len, group)))
            before = stop
            yield self.snapshot(stop)

    def _groups(self, before, stop):
        """Yields each replica's minibatches for every step of the job.

        All have one padded length, that of the run furthest behind. So no run
        with a rare length is left to finish alone.
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
                [each for each in chosen if self._owners[each.slot] == replica][
                    : self._places
                ]
                for replica in range(self._replicas.num_local)
            ]
            yield group
            for taken in (each for own in group for each in own):
                slot, step = taken.slot, taken.step + 1
                del waiting[slot]
                if step < stop:
                    waiting[slot] = self._schedules[slot].minibatch(step)

    def snapshot(self, step: int) -> Snapshot:
        """The runs as they are now."""
        if not self._replicas.is_plain:
            self._agree()
        rows = self.task.stack.select(list(range(len(self.runs))))
        embeddings = getattr(self.task.stack, "embeddings", None)
        return Snapshot(
            step,
            {name: np.asarray(tensor) for name, tensor in rows.items()},
            None if embeddings is None else np.asarray(embeddings),
        )

    def _agree(self):
        """Copies every run's row from the replica that trains it to all."""
        rows = slot_rows.SlotRows(len(self.runs), self._owners)
        shared_names = self.task.shared_names
        for name, variable in self.task.state_by_name.items():
            if name.startswith("weight/") and name not in shared_names:
                rows.write_all(variable, rows.read_all(variable))

    def _batches(self, group):
        """Each replica's batch; an idle one gets another's, inactive."""
        some = next(own for own in group if own)
        batches = [self._batch(own or some) for own in group]
        for own, batch in zip(group, batches, strict=True):
            if not own:
                batch["active"] = tf.zeros_like(batch["active"])
        return batches

    def _batch(self, minibatches):
        items, seeds = [], np.zeros((self._places, 2), np.int32)
        for place, minibatch in enumerate(minibatches):
            run = self.runs[minibatch.slot]
            indices = [run.train[i] for i in minibatch.utterances]
            items.append((run.speaker, indices))
            seeds[place] = random_streams.stateless_seed(
                "dropout", self._seed, run.key, minibatch.step
            )
        slots = [minibatch.slot for minibatch in minibatches]
        # An empty place borrows an absent slot and hands it back as it was.
        absent = [s for s in range(len(self.runs)) if s not in slots]
        slots = slots + absent[: self._places - len(slots)]
        batch = self.speech.batch(
            items, self._places, self._utterances, minibatches[0].bucket
        )
        batch |= {
            "row_indices": np.array(slots, np.int32),
            "active": np.arange(self._places) < len(items),
            "seeds": seeds,
        }
        return {name: tf.constant(value) for name, value in batch.items()}
