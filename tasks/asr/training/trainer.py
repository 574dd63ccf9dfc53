"""Runs a job: legs of training, evaluation on dev, Submodel files.

A leg takes every unfinished speaker to the next evaluation. What happens next
is always a function of the counts in the checkpoint, so a run that was killed
anywhere continues to the same files.
"""

import json
import time
from collections import abc

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import files
from tasks.asr.batches import minibatch_schedule
from tasks.asr.data import preparation
from tasks.asr.estimates import pace
from tasks.asr.training import (
    job_state,
    learning_curves,
    model_directory,
    preemption,
    replica_batches,
    set_aside,
    sharding,
    submodel_files,
)

# Groups that several processes evaluate before they ask whether to stop.
_GROUPS_PER_CHECK = 16

# Of the progress bar.
_TITLE = "training"

SpeakersBySlot = abc.Mapping[int, preparation.SpeakerUtterances]


class Trainer:
    """Trains a job's Submodels.

    Args:
        state: of the job, new or restored.
        train_data: of every slot.
        dev_data: a slot may be missing; that speaker trains all steps and
            keeps the last weights.
        selected: slots to train; None for all.

    Attributes:
        train_step, train_steps, losses: the task's steps on all replicas.
        selected: slots to train.
        set_aside: the speakers who go no further, with the reason.
    """

    def __init__(
        self,
        state: job_state.JobState,
        train_data: SpeakersBySlot,
        dev_data: SpeakersBySlot,
        directory: model_directory.ModelDirectory,
        origin: submodel_files.Origin,
        selected: abc.Iterable[int] | None = None,
    ):
        task = state.task
        self.state = state
        self._values = task.experiment.train
        self._directory = directory
        self._train_data = train_data
        self._files = submodel_files.SubmodelFiles(
            directory, origin, state, train_data
        )
        self.selected = sorted(train_data if selected is None else selected)
        self._sharding = state.sharding
        self.set_aside = set_aside.SetAside(task.stack.speakers, self._sharding)
        self._train, self._dev = (
            replica_batches.Feed(
                task,
                data,
                self._sharding,
                speed_factors,
                directory.activations,
                self.set_aside.unreadable,
                self._pause,
            )
            for data, speed_factors in (
                (train_data, task.experiment.augment.speed_factors),
                (dev_data, (1.0,)),
            )
        )
        replicas = self._sharding.replicas
        self._processes = replicas.processes
        self._steps_per_call = sharding.steps_per_call(
            task.experiment, replicas.num_replicas
        )
        self.train_step = replicas.replicate(task.train_step)
        self.train_steps = replicas.replicate(task.train_steps)
        self.losses = replicas.replicate(task.losses)
        self._notice = preemption.Notice()
        self._pace = pace.Pace()
        self._shown: dict[str, str] = {}

    def run(self) -> None:
        """Trains the selected speakers to their end.

        Raises:
            preemption.Stopped: SIGTERM or Ctrl-C came; the checkpoint holds
                everything.
        """
        self._files.check(self.selected, self.set_aside)
        self._saved_at = time.monotonic()
        self._writer = (
            tf.summary.create_file_writer(self._directory.tensorboard)
            if self._processes.is_chief
            else tf.summary.create_noop_writer()
        )
        done = sum(self.state.speakers[slot].steps for slot in self.selected)
        remaining = sum(updates for _, updates in self._remaining())
        with (
            preemption.Notice() as self._notice,
            tqdm.tqdm(
                total=done + remaining,
                initial=done,
                desc=_TITLE,
                unit="update",
                smoothing=0.1,
                disable=not self._processes.is_chief,
            ) as progress,
        ):
            while self._unfinished():
                # A leg that was interrupted is finished first: which speakers
                # share a step decides how a shared basis moves.
                if not self._is_within_leg():
                    self._take_turns(progress)
                self._train_leg(progress)
            self._writer.close()
            self.save()

    def save(self) -> None:
        """Writes a checkpoint and the history."""
        self.state.save(self._directory.checkpoints)
        if self._processes.is_chief:
            text = "".join(json.dumps(r) + "\n" for r in self.state.history)
            files.write_atomically(self._directory.history, text.encode())
        self._saved_at = time.monotonic()

    def _save_if_due(self):
        """Saves if the chief says it is time, or a process has to stop."""
        elapsed = time.monotonic() - self._saved_at
        is_late = elapsed >= self._values.checkpoint_every_seconds
        answers = self._processes.gather(
            [self._notice.number, is_late, self.set_aside.told()]
        )
        for _, _, told in answers:
            self.set_aside.learn(told)
        number = max(number for number, _, _ in answers)
        if number or answers[0][1]:
            self.save()
        if number:
            raise preemption.Stopped(self._directory.path, number)

    def _pause(self):
        """Ends a long computation between steps, if it is asked to."""
        # Several processes can only stop together.
        if self._notice.given and self._processes.count == 1:
            self._save_if_due()

    def _unfinished(self):
        return [
            slot
            for slot in self.selected
            if not self.state.speakers[slot].finished
            and slot not in self.set_aside.reasons
        ]

    def _remaining(self):
        """The schedule of each unfinished speaker, and the updates to come."""
        return [
            (
                self._train.schedules[slot],
                self._values.num_steps - self.state.speakers[slot].steps,
            )
            for slot in self._unfinished()
        ]

    def _in_training(self):
        """The unfinished slots that have a row."""
        residents = set(self.state.residents)
        return [slot for slot in self._unfinished() if slot in residents]

    def _boundary(self, slot):
        return self.state.speakers[slot].boundary(
            self._values.num_steps, self._values.eval_every_steps
        )

    def _is_within_leg(self):
        return any(
            self.state.speakers[slot].steps < self._boundary(slot)
            for slot in self._in_training()
        )

    def _take_turns(self, progress):
        """Evaluates the speakers that are due; waiting ones replace finished.

        Repeats, since a speaker is evaluated before its first update, too.
        """
        admitted = True
        while admitted:
            admitted = self.state.admit(self._unfinished())
            self._evaluate_due(progress)

    def _train_leg(self, progress):
        slots = self._in_training()
        calls = list(
            minibatch_schedule.training_calls(
                {slot: self._train.schedules[slot] for slot in slots},
                {slot: self.state.speakers[slot].steps for slot in slots},
                {slot: self._boundary(slot) for slot in slots},
                self._sharding.all_places,
                self._steps_per_call,
            )
        )
        self._pace.begin()
        for groups, losses, norms in self._updates(calls):
            for group, of_step, norms_of_step in zip(
                groups, losses, norms, strict=True
            ):
                group = self.set_aside.without(group)
                self.state.record_step(group, of_step, norms_of_step)
                progress.update(len(group.minibatches))
                own = [of_step[place] for place, _ in self._sharding.own(group)]
                if own:
                    self._shown["loss"] = f"{np.mean(own):.3f}"
                    progress.set_postfix(self._shown, refresh=False)
            if self._pace.passed(groups) and self._processes.is_chief:
                tqdm.tqdm.write(self._pace.describe(self._remaining()))
            self._save_if_due()

    def _updates(self, calls):
        """Yields groups, and their losses and norms `[groups, all_places]`."""
        if self._steps_per_call == 1:
            batches = self._train.load([group for (group,) in calls])
            for groups, batch in zip(calls, batches, strict=True):
                batch = self.set_aside.empty_places(groups, batch)
                losses, norms = self._joined(self.train_step(batch))
                yield groups, losses[None], norms[None]
            return
        batches = self._train.load_calls(calls, self._steps_per_call)
        for groups, batch in zip(calls, batches, strict=True):
            count = len(groups)
            batch = self.set_aside.empty_places(groups, batch)
            found = self.train_steps(batch, tf.constant(count))
            losses, norms = self._joined(found)
            yield groups, losses[:count], norms[:count]

    def _joined(self, found):
        """The pair that each replica returned, over all places."""
        return map(self._sharding.join, zip(*found, strict=True))

    def _evaluate_due(self, progress):
        speakers = self.state.speakers
        due = [
            slot
            for slot in self._in_training()
            if self._boundary(slot) == speakers[slot].steps
        ]
        if not due:
            return
        with_dev = [slot for slot in due if slot in self._dev.schedules]
        # No update is made in that time.
        progress.set_description_str("dev speech")
        base_losses = self._losses_of_base(with_dev)
        dev_losses = self._dev_losses(with_dev)
        if dev_losses:
            self._shown["dev"] = f"{np.mean(list(dev_losses.values())):.3f}"
            progress.set_postfix(self._shown, refresh=False)
        progress.set_description_str(_TITLE)
        self.state.share()
        due = [slot for slot in due if slot not in self.set_aside.reasons]
        for slot in due:
            base_loss = base_losses.get(slot)
            self._conclude(slot, dev_losses.get(slot), base_loss)
            if speakers[slot].finished:
                progress.update(0)
                progress.total -= self._values.num_steps - speakers[slot].steps
        rows = self.state.history[len(self.state.history) - len(due) :]
        learning_curves.log(self._writer, rows, speakers, self.state.job_step)

    def _losses_of_base(self, slots):
        """The base's dev loss, of those who are where a Submodel left them."""
        new = [s for s in slots if self.state.speakers[s].steps == 0]
        # Once more, since a base may have been saved while it was measured.
        moved = self.state.put_starts(new)
        if not moved:
            return {}
        self.state.put_base(moved)
        losses = self._dev_losses(moved)
        self.state.put_starts(moved)
        return losses

    def _dev_losses(self, slots):
        """The dev loss of each slot, over its own utterances alone."""
        groups = minibatch_schedule.evaluation_groups(
            {slot: self._dev.schedules[slot] for slot in slots}
        )
        sums = dict.fromkeys(slots, 0.0)
        counts = dict.fromkeys(slots, 0.0)
        loaded = self._dev.load(groups)
        for index, (group, batches) in enumerate(
            zip(groups, loaded, strict=True), 1
        ):
            losses, weights = self._joined(self.losses(batches))
            # For the speakers that it sets aside; the batch is done with.
            self.set_aside.empty_places([group], batches)
            for place, minibatch in self._sharding.own(group):
                sums[minibatch.slot] += float(losses[place] * weights[place])
                counts[minibatch.slot] += float(weights[place])
            # Several processes only know of each other's notices by asking.
            is_asked = self._notice.given
            if self._processes.count > 1:
                is_asked = index % _GROUPS_PER_CHECK == 0
            if is_asked:
                self._save_if_due()
        own = [
            [s, sums[s] / counts[s]]
            for s in slots
            if counts[s] and s not in self.set_aside.reasons
        ]
        found = {}
        for losses, told in self._processes.gather(
            [own, self.set_aside.told()]
        ):
            found |= {slot: loss for slot, loss in losses}
            self.set_aside.learn(told)
        return found

    def _conclude(self, slot, dev_loss, base_loss):
        """Keeps the best weights, writes history, ends a speaker's training."""
        state = self.state.speakers[slot]
        data = self._train_data[slot]
        is_best = state.conclude(
            dev_loss, self._values.num_steps, self._values.patience, base_loss
        )
        if self.state.is_here(slot):
            self._files.keep(slot, is_best)
        row = {"speaker": data.speaker, "step": state.steps}
        if state.loss_count:
            row["train_loss"] = state.loss_sum / state.loss_count
        # JSON has no other numbers.
        if dev_loss is not None and np.isfinite(dev_loss):
            row["dev_loss"] = dev_loss
        self.state.history.append(row)
        state.loss_sum, state.loss_count = 0.0, 0
