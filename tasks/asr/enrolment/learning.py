"""Trains the runs of an enrolment side by side in one job.

The step is the task's own. The runs of a speaker whose next minibatches have
one padded length share a step. Speakers whose steps have one shape share them
too, as many as `speakers_per_step` says. The shapes of what is computed, and
the places of a speaker's runs in it, are the speaker's own; what other places
hold changes no bit. So every bit of a Submodel comes out the same, whoever else
enrols.
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


def slot_names(runs: abc.Iterable[plan.Run]) -> list[str]:
    """The slots of a task that trains some runs: theirs, and a spare one.

    The empty places of a step borrow the spare one and hand it back as it was.
    """
    return [*(run.key for run in runs), "\x1fspare"]


class Learning:
    """Trains the slots of a task.

    Args:
        task: a task with the slots of `slot_names`.
        utterances: of a run in each step.
        replicas: the replicas that the task was made on. They share the
            speakers. Each keeps a row for every run.
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
        self._slots = collections.defaultdict(list)
        for slot, run in enumerate(runs):
            self._slots[run.speaker].append(slot)
        replica_of = {
            speaker: index % replicas.num_local
            for index, speaker in enumerate(self._slots)
        }
        self._owners = [replica_of[run.speaker] for run in runs]
        # A step has a part for each speaker. Which one is drawn from the id: a
        # count would depend on the others.
        self._num_parts = values.speakers_per_step
        self._parts = {
            speaker: int(
                random_streams.generator("part", speaker).integers(
                    self._num_parts
                )
            )
            for speaker in self._slots
        }
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
        self._places = {}
        for speaker, slots in self._slots.items():
            first = [self._schedules[slot].minibatch(0) for slot in slots]
            counts = collections.Counter(each.bucket for each in first)
            self._places[speaker] = plan.even_places(
                counts.values(), values.runs_per_step
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
        if steps[-1] >= _WORTH_COMPILING:
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

        Replicas compute one program: their minibatches have one shape.
        """
        queues = [{} for _ in range(self._replicas.num_local)]
        for speaker, slots in self._slots.items():
            steps = self._steps(speaker, before, stop)
            if steps:
                queues[self._owners[slots[0]]][speaker] = steps
        while any(queues):
            parts = collections.defaultdict(set)
            for replica, queue in enumerate(queues):
                for speaker, steps in queue.items():
                    part = replica, self._parts[speaker]
                    parts[self._shape(speaker, steps)].add(part)
            # The one that fills most of a step.
            shape = max(parts, key=lambda shape: len(parts[shape]))
            yield [self._taken(queue, shape) for queue in queues]

    def _steps(self, speaker, before, stop):
        """A speaker's minibatches for each step, in a deque.

        Those of a step have one padded length, that of the run furthest
        behind. So no run with a rare length is left to finish alone.
        """
        waiting = {
            slot: self._schedules[slot].minibatch(before)
            for slot in self._slots[speaker]
            if slot in self._going and before < stop
        }
        steps = collections.deque()
        while waiting:
            by_bucket = collections.defaultdict(list)
            for each in sorted(waiting.values(), key=lambda each: each.step):
                by_bucket[each.bucket].append(each)
            chosen = min(
                by_bucket.values(), key=lambda each: (each[0].step, -len(each))
            )[: self._places[speaker]]
            steps.append(chosen)
            for taken in chosen:
                slot, step = taken.slot, taken.step + 1
                del waiting[slot]
                if step < stop:
                    waiting[slot] = self._schedules[slot].minibatch(step)
        return steps

    def _shape(self, speaker, steps):
        """The shape that the next step of a speaker is compiled for.

        The places of a speaker, and the padded lengths of speech and
        transcripts.
        """
        num_tokens = self.speech.num_tokens(speaker)
        return self._places[speaker], steps[0][0].bucket, num_tokens

    def _taken(self, queue, shape):
        """Takes each part's minibatches of a shape out of a replica's queue."""
        taken = {}
        for speaker, steps in list(queue.items()):
            part = self._parts[speaker]
            if part not in taken and self._shape(speaker, steps) == shape:
                taken[part] = steps.popleft()
                if not steps:
                    del queue[speaker]
        return [each for of_part in taken.values() for each in of_part]

    def snapshot(self, step: int) -> Snapshot:
        """The runs as they are now."""
        if not self._replicas.is_plain:
            self._agree()
        # Each speaker's by themselves: the number of rows decides how a mix of
        # a space's elements is rounded.
        selected = [
            self.task.stack.select(slots) for slots in self._slots.values()
        ]
        embeddings = getattr(self.task.stack, "embeddings", None)
        return Snapshot(
            step,
            {
                name: np.concatenate([each[name] for each in selected])
                for name in selected[0]
            },
            None if embeddings is None else np.asarray(embeddings)[:-1],
        )

    def _agree(self):
        """Copies every run's row from the replica that trains it to all."""
        # The spare slot is never read.
        rows = slot_rows.SlotRows(len(self.runs) + 1, [*self._owners, 0])
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
        of_part = self._places[self.runs[minibatches[0].slot].speaker]
        places = of_part * self._num_parts
        items, seeds = {}, np.zeros((places, 2), np.int32)
        slots = np.full([places], len(self.runs), np.int32)
        filled = collections.Counter()
        for minibatch in minibatches:
            run = self.runs[minibatch.slot]
            place = self._parts[run.speaker] * of_part + filled[run.speaker]
            filled[run.speaker] += 1
            indices = [run.train[i] for i in minibatch.utterances]
            items[place] = run.speaker, indices
            slots[place] = minibatch.slot
            seeds[place] = random_streams.stateless_seed(
                "dropout", self._seed, run.key, minibatch.step
            )
        batch = self.speech.batch(
            items, places, self._utterances, minibatches[0].bucket
        )
        batch |= {
            "row_indices": slots,
            "active": slots < len(self.runs),
            "seeds": seeds,
        }
        return {name: tf.constant(value) for name, value in batch.items()}
