"""Runs a job: legs of training, evaluation on dev, Submodel files.

A leg takes every unfinished speaker to its next evaluation. What happens next
is always a function of the counts in the checkpoint, so a run that was killed
anywhere goes on to the same files.
"""

import dataclasses
import json
import time

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import files
from lingvo_like.submodel import file as submodel_file
from tasks.asr.batches import schedule
from tasks.asr.training import (
    checkpoint,
    feed,
    learning_curves,
    preemption,
    slot_state,
    speaker_state,
)
from tasks.asr.training import sharding as sharding_lib

# Of an evaluation, from one meeting of several processes to the next.
_GROUPS_PER_MEETING = 16


class Trainer:
    """Trains a job's Submodels.

    Args:
        task: `task.SubmodelTask`.
        train_data: dict of slot to `SpeakerUtterances`.
        dev_data: dict of slot to `SpeakerUtterances`; a slot may be missing,
            then that speaker trains all its steps and keeps the last weights.
        directory: `ModelDirectory`.
        make_submodel: function of (speaker, training summary) that returns
            the `Submodel` which the stack holds for that speaker now.
        selected: slots to train; None for all.
        sharding: `Sharding` that the task was made with; None for one replica
            with a row for everybody.

    Attributes:
        train_step, train_steps, losses: `Replicated`, the task's on all
            replicas.
    """

    def __init__(
        self,
        task,
        train_data,
        dev_data,
        directory,
        make_submodel,
        selected=None,
        sharding=None,
    ):
        self._task = task
        self._values = task.experiment.train
        self._directory = directory
        self._make_submodel = make_submodel
        self._train_data = train_data
        self._selected = sorted(train_data if selected is None else selected)
        self._sharding = sharding or sharding_lib.single(
            task.stack.num_slots, self._values.speakers_per_step
        )
        self._train = feed.Feed(
            task,
            train_data,
            self._sharding,
            task.experiment.augment.speed_factors,
            directory.activations,
        )
        self._dev = feed.Feed(
            task, dev_data, self._sharding, (1.0,), directory.activations
        )
        replicas = self._sharding.replicas
        self._processes = replicas.processes
        self._steps_per_call = sharding_lib.steps_per_call(
            task.experiment, replicas.num_replicas
        )
        self.train_step = replicas.replicate(task.train_step)
        self.train_steps = replicas.replicate(task.train_steps)
        self.losses = replicas.replicate(task.losses)
        self._state = slot_state.SlotState(task, self._sharding)
        self.states = [
            speaker_state.SpeakerState() for _ in task.stack.speakers
        ]
        self.history = []
        self._job_step = 0
        self._notice = preemption.Notice()

    def restore(self):
        """Goes on from the newest checkpoint. Returns whether there is one."""
        saved = checkpoint.restore(
            self._directory.checkpoints, self._state.by_name, self._state.expect
        )
        # A list of a shared folder that is not of now would show an older one.
        self._processes.check_same(
            "the checkpoint to go on from", saved and saved["job_step"]
        )
        if saved is None:
            return False
        self._job_step = saved["job_step"]
        # What they have learned is lost, and comes out the same again.
        again = set(self._state.settle())
        self.states = [
            speaker_state.SpeakerState(**({} if slot in again else state))
            for slot, state in enumerate(saved["speakers"])
        ]
        begin = {self._task.stack.speakers[slot] for slot in again}
        rows = saved["history"]
        self.history = [row for row in rows if row["speaker"] not in begin]
        return True

    def save(self):
        """Writes a checkpoint of everything that the run depends on."""
        self._share_losses()
        checkpoint.save(
            self._directory.checkpoints,
            self._state.by_name,
            {
                "job_step": self._job_step,
                "history": self.history,
                "speakers": [dataclasses.asdict(s) for s in self.states],
                "residents": self._state.residents,
            },
            processes=self._processes,
        )
        if self._processes.is_chief:
            self._write_history()
        self._saved_at = time.monotonic()

    def run(self):
        """Trains the selected speakers to their end.

        Raises:
            preemption.Stopped: SIGTERM came; the checkpoint holds everything.
        """
        self._saved_at = time.monotonic()
        self._writer = (
            tf.summary.create_file_writer(self._directory.tensorboard)
            if self._processes.is_chief
            else tf.summary.create_noop_writer()
        )
        remaining = sum(
            self._values.num_steps - self.states[slot].steps
            for slot in self._unfinished()
        )
        with (
            preemption.Notice() as self._notice,
            tqdm.tqdm(
                total=remaining,
                desc="training",
                unit="update",
                smoothing=0.1,
                disable=not self._processes.is_chief,
            ) as progress,
        ):
            while self._unfinished():
                # A leg that was cut off is finished first: who is in a step
                # with whom decides how a shared basis moves.
                if not self._is_within_leg():
                    self._take_turns(progress)
                self._train_leg(progress)
            self._writer.close()
            self.save()

    def _unfinished(self):
        return [s for s in self._selected if not self.states[s].finished]

    def _under_way(self):
        """Who trains now: the unfinished that have a row."""
        residents = set(self._state.residents)
        return [s for s in self._unfinished() if s in residents]

    def _is_within_leg(self):
        return any(
            self.states[slot].steps < self._boundary(slot)
            for slot in self._under_way()
        )

    def _take_turns(self, progress):
        """Evaluates who is due, and lets others in where somebody is done."""
        come = True
        while come:
            come = self._state.admit(self._unfinished())
            self._evaluate_due(progress)

    def _boundary(self, slot):
        return self.states[slot].boundary(
            self._values.num_steps, self._values.eval_every_steps
        )

    def _train_leg(self, progress):
        slots = self._under_way()
        calls = list(
            schedule.training_calls(
                {slot: self._train.schedules[slot] for slot in slots},
                {slot: self.states[slot].steps for slot in slots},
                {slot: self._boundary(slot) for slot in slots},
                self._sharding.all_places,
                self._steps_per_call,
            )
        )
        for groups, losses, norms in self._updates(calls):
            for group, of_step, norms_of_step in zip(
                groups, losses, norms, strict=True
            ):
                self._job_step += 1
                self._record_step(group, of_step, norms_of_step)
                progress.update(len(group.minibatches))
                known = [of_step[p] for p, _ in self._own(group)]
                if known:
                    progress.set_postfix(
                        loss=f"{np.mean(known):.3f}", refresh=False
                    )
            self._save_if_due()

    def _updates(self, calls):
        """Yields groups, and their losses and norms `[groups, places]`."""
        if self._steps_per_call == 1:
            batches = self._train.load([group for (group,) in calls])
            for groups, batch in zip(calls, batches, strict=True):
                losses, norms = map(
                    self._of_all_places,
                    zip(*self.train_step(batch), strict=True),
                )
                yield groups, losses[None], norms[None]
            return
        batches = self._train.load_calls(calls, self._steps_per_call)
        for groups, batch in zip(calls, batches, strict=True):
            found = self.train_steps(batch, tf.constant(len(groups)))
            losses, norms = map(self._of_all_places, zip(*found, strict=True))
            yield groups, losses[: len(groups)], norms[: len(groups)]

    def _of_all_places(self, parts):
        """The local replicas' `[..., places]` as `[..., all_places]`."""
        replicas, places = self._sharding.replicas, self._sharding.places
        shape = (*parts[0].shape[:-1], self._sharding.all_places)
        result = np.full(shape, np.nan, np.float32)
        for replica, part in enumerate(parts, start=replicas.local.start):
            result[..., replica * places : (replica + 1) * places] = part
        return result

    def _own(self, group):
        """Pairs of place and minibatch that replicas of this process have."""
        return [
            (place, minibatch)
            for place, minibatch in group.placed
            if self._sharding.is_local(place)
        ]

    def _save_if_due(self):
        """Saves what has to be; all processes decide together.

        Raises:
            preemption.Stopped: one of them was asked to stop.
        """
        elapsed = time.monotonic() - self._saved_at
        is_late = elapsed >= self._values.checkpoint_every_seconds
        answers = self._processes.gather([self._notice.given, is_late])
        stops = any(stop for stop, _ in answers)
        if stops or answers[0][1]:
            self.save()
        if stops:
            raise preemption.Stopped

    def _record_step(self, group, losses, norms):
        for place, minibatch in group.placed:
            state = self.states[minibatch.slot]
            state.steps += 1
            # Elsewhere trained speakers' losses come by `_share_losses`.
            if np.isfinite(norms[place]):
                state.loss_sum += float(losses[place])
                state.loss_count += 1

    def _share_losses(self):
        """Tells all processes the training losses of everybody's speakers."""
        if self._processes.count == 1:
            return
        own = [
            [slot, self.states[slot].loss_sum, self.states[slot].loss_count]
            for slot in self._sharding.slot_rows.slots.tolist()
        ]
        for losses in self._processes.gather(own):
            for slot, loss_sum, loss_count in losses:
                self.states[slot].loss_sum = loss_sum
                self.states[slot].loss_count = loss_count

    def _evaluate_due(self, progress):
        due = [
            slot
            for slot in self._under_way()
            if self._boundary(slot) == self.states[slot].steps
        ]
        if not due:
            return
        dev_losses = self._dev_losses(
            [slot for slot in due if slot in self._dev.schedules]
        )
        self._share_losses()
        self._state.agree()
        skipped = self._state.skipped()
        first_row = len(self.history)
        for slot in due:
            before = self.states[slot].steps
            self.states[slot].skipped = skipped[slot]
            self._conclude(slot, dev_losses.get(slot))
            if self.states[slot].finished:
                progress.update(0)
                progress.total -= self._values.num_steps - before
        learning_curves.log_all(
            self._writer, self.history[first_row:], self.states, self._job_step
        )

    def _dev_losses(self, slots):
        """The dev loss of each slot, over its own utterances alone."""
        groups = schedule.evaluation_groups(
            {slot: self._dev.schedules[slot] for slot in slots},
            self._sharding.places,
            self._sharding.replicas.num_replicas,
        )
        sums = dict.fromkeys(slots, 0.0)
        counts = dict.fromkeys(slots, 0.0)
        loaded = self._dev.load(groups)
        for index, (group, batches) in enumerate(
            zip(groups, loaded, strict=True), 1
        ):
            losses, weights = (
                self._of_all_places(parts)
                for parts in zip(*self.losses(batches), strict=True)
            )
            for place, minibatch in self._own(group):
                sums[minibatch.slot] += float(losses[place] * weights[place])
                counts[minibatch.slot] += float(weights[place])
            # Several processes have to meet to know of each other's notices.
            if self._processes.count > 1:
                is_asked = index % _GROUPS_PER_MEETING == 0
            else:
                is_asked = self._notice.given
            if is_asked:
                self._save_if_due()
        own = [[s, sums[s] / counts[s]] for s in slots if counts[s]]
        return {s: loss for o in self._processes.gather(own) for s, loss in o}

    def _conclude(self, slot, dev_loss):
        """What follows from an evaluation: best weights, history, the end."""
        state = self.states[slot]
        if state.conclude(
            dev_loss, self._values.num_steps, self._values.patience
        ):
            self._export(slot)
        self._record_history(slot, dev_loss)
        state.loss_sum, state.loss_count = 0.0, 0

    def _record_history(self, slot, dev_loss):
        state = self.states[slot]
        speaker = self._task.stack.speakers[slot]
        row = {"speaker": speaker, "step": state.steps}
        if state.loss_count:
            row["train_loss"] = state.loss_sum / state.loss_count
        if dev_loss is not None:
            row["dev_loss"] = dev_loss
        self.history.append(row)
        learning_curves.log_speaker(self._writer, row)

    def _export(self, slot):
        if not self._sharding.slot_rows.is_here(slot):
            return
        state = self.states[slot]
        speaker = self._task.stack.speakers[slot]
        data = self._train_data[slot]
        summary = {
            "step": state.best_step,
            "dev_loss": state.best_loss,
            "base_dev_loss": state.base_loss,
            "train_utterances": len(data.utterances),
            "train_seconds_of_speech": round(
                sum(u.duration for u in data.utterances), 3
            ),
            "seed": self._values.seed,
        }
        submodel_file.save(
            self._directory.submodel(speaker),
            self._make_submodel(speaker, summary),
            self._values.submodel_dtype,
        )

    def _write_history(self):
        lines = "".join(json.dumps(row) + "\n" for row in self.history)
        files.write_atomically(self._directory.history, lines.encode())
