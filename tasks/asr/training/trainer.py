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
from lingvo_like import submodel as submodel_lib
from tasks.asr.data import activation_cache, input_pipeline, schedule
from tasks.asr.training import checkpoint


@dataclasses.dataclass
class SpeakerState:
    """What is known of one speaker's training, besides its tensors.

    Attributes:
        steps: int, updates so far.
        evaluated_at: int, the step of the last evaluation; -1 before any.
        best_step: int, the step whose weights are in the Submodel file; -1
            while there is none.
        best_loss: float or None, the dev loss there.
        base_loss: float or None, the dev loss before any update.
        worse: int, evaluations since the best.
        finished: bool.
        loss_sum, loss_count: of the training losses since the last evaluation.
    """

    steps: int = 0
    evaluated_at: int = -1
    best_step: int = -1
    best_loss: float | None = None
    base_loss: float | None = None
    worse: int = 0
    finished: bool = False
    loss_sum: float = 0.0
    loss_count: int = 0


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
    """

    def __init__(
        self,
        task,
        train_data,
        dev_data,
        directory,
        make_submodel,
        selected=None,
    ):
        self._task = task
        self._values = task.experiment.train
        self._directory = directory
        self._make_submodel = make_submodel
        self._train_data = train_data
        self._dev_data = dev_data
        self._selected = sorted(train_data if selected is None else selected)
        self._places = min(self._values.speakers_per_step, task.stack.num_slots)
        self._place_of = schedule.assign_places(
            task.stack.num_slots, self._places
        )
        self._schedules = {
            slot: self._speaker_schedule(data, training=True)
            for slot, data in train_data.items()
        }
        self._dev_schedules = {
            slot: self._speaker_schedule(data, training=False)
            for slot, data in dev_data.items()
        }
        self.states = [SpeakerState() for _ in task.stack.speakers]
        self.history = []
        self._job_step = 0
        self._train_load = self._loader(train_data)
        self._dev_load = self._loader(dev_data)

    def _speaker_schedule(self, data, training):
        rate = self._task.base.sample_rate
        return schedule.SpeakerData(
            slot=data.slot,
            speaker=data.speaker,
            num_samples=[round(u.duration * rate) for u in data.utterances],
            bucket_samples=self._task.base.bucket_samples,
            utterances_per_minibatch=self._values.utterances_per_speaker,
            seed=self._values.seed,
            speed_factors=(
                self._task.experiment.augment.speed_factors
                if training
                else (1.0,)
            ),
            place=self._place_of[data.slot],
        )

    def _loader(self, data):
        """How groups of `data` become batches: function of groups."""
        base = self._task.base
        loader = input_pipeline.Loader(
            data,
            base.sample_rate,
            base.max_tokens,
            self._places,
            self._values.utterances_per_speaker,
            self._task.experiment.augment,
            self._values.seed,
        )
        if not self._values.cache_activations:
            return lambda groups: input_pipeline.dataset(loader.batch, groups)
        cache = activation_cache.ActivationCache(
            self._directory.activations,
            self._task.lower,
            loader,
            data,
            base.sample_rate,
            base.model_dim,
            (self._places, self._values.utterances_per_speaker),
        )

        def load(groups):
            groups = list(groups)
            cache.compute(groups)
            return input_pipeline.dataset(cache.batch, groups)

        return load

    def restore(self):
        """Goes on from the newest checkpoint. Returns whether there is one."""
        saved = checkpoint.restore(
            self._directory.checkpoints, self._task.state_by_name
        )
        if saved is None:
            return False
        self._job_step = saved["job_step"]
        self.history = saved["history"]
        self.states = [SpeakerState(**state) for state in saved["speakers"]]
        return True

    def save(self):
        """Writes a checkpoint of everything that the run depends on."""
        checkpoint.save(
            self._directory.checkpoints,
            self._task.state_by_name,
            {
                "job_step": self._job_step,
                "history": self.history,
                "speakers": [dataclasses.asdict(s) for s in self.states],
            },
        )
        self._write_history()
        self._saved_at = time.monotonic()

    def run(self):
        """Trains the selected speakers to their end."""
        self._saved_at = time.monotonic()
        self._writer = tf.summary.create_file_writer(
            self._directory.tensorboard
        )
        remaining = sum(
            self._values.num_steps - self.states[slot].steps
            for slot in self._unfinished()
        )
        with tqdm.tqdm(
            total=remaining, desc="training", unit="update", smoothing=0.1
        ) as progress:
            while self._unfinished():
                # A leg that was cut off is finished first: who is in a step
                # with whom decides how a shared basis moves.
                if not self._is_within_leg():
                    self._evaluate_due(progress)
                self._train_leg(progress)
        self._writer.close()
        self.save()

    def _unfinished(self):
        return [s for s in self._selected if not self.states[s].finished]

    def _is_within_leg(self):
        return any(
            self.states[slot].steps < self._boundary(slot)
            for slot in self._unfinished()
        )

    def _boundary(self, slot):
        """Where the speaker's current leg ends."""
        state, every = self.states[slot], self._values.eval_every_steps
        if state.evaluated_at < state.steps and (
            state.steps % every == 0 or state.steps == self._values.num_steps
        ):
            return state.steps
        return min((state.steps // every + 1) * every, self._values.num_steps)

    def _train_leg(self, progress):
        slots = self._unfinished()
        groups = list(
            schedule.training_groups(
                {slot: self._schedules[slot] for slot in slots},
                {slot: self.states[slot].steps for slot in slots},
                {slot: self._boundary(slot) for slot in slots},
                self._places,
            )
        )
        for group, batch in zip(groups, self._train_load(groups), strict=True):
            losses, norms = self._task.train_step(batch)
            self._job_step += 1
            self._record_step(group, losses.numpy(), norms.numpy())
            progress.update(len(group.minibatches))
            progress.set_postfix(
                loss=f"{np.mean([losses[p] for p, _ in group.placed]):.3f}",
                refresh=False,
            )
            elapsed = time.monotonic() - self._saved_at
            if elapsed >= self._values.checkpoint_every_seconds:
                self.save()

    def _record_step(self, group, losses, norms):
        for place, minibatch in group.placed:
            state = self.states[minibatch.speaker]
            state.steps += 1
            if np.isfinite(norms[place]):
                state.loss_sum += float(losses[place])
                state.loss_count += 1

    def _evaluate_due(self, progress):
        due = [
            slot
            for slot in self._unfinished()
            if self._boundary(slot) == self.states[slot].steps
        ]
        dev_losses = self._dev_losses(
            [slot for slot in due if slot in self._dev_schedules]
        )
        first_row = len(self.history)
        for slot in due:
            before = self.states[slot].steps
            self._conclude(slot, dev_losses.get(slot))
            if self.states[slot].finished:
                progress.update(0)
                progress.total -= self._values.num_steps - before
        if due:
            self._log_aggregate(self.history[first_row:])

    def _dev_losses(self, slots):
        """The dev loss of each slot, over its own utterances alone."""
        groups = schedule.evaluation_groups(
            {slot: self._dev_schedules[slot] for slot in slots}, self._places
        )
        sums = dict.fromkeys(slots, 0.0)
        counts = dict.fromkeys(slots, 0.0)
        for group, batch in zip(groups, self._dev_load(groups), strict=True):
            losses, weights = (x.numpy() for x in self._task.losses(batch))
            for place, minibatch in group.placed:
                sums[minibatch.speaker] += float(losses[place] * weights[place])
                counts[minibatch.speaker] += float(weights[place])
        return {slot: sums[slot] / counts[slot] for slot in slots}

    def _conclude(self, slot, dev_loss):
        """What follows from an evaluation: best weights, history, the end."""
        state = self.states[slot]
        state.evaluated_at = state.steps
        at_end = state.steps >= self._values.num_steps
        improved = dev_loss is not None and (
            state.best_loss is None or dev_loss < state.best_loss
        )
        if state.steps == 0:
            state.base_loss = dev_loss
        if improved:
            state.best_loss, state.best_step, state.worse = (
                dev_loss,
                state.steps,
                0,
            )
        else:
            state.worse += 1
        if improved or (dev_loss is None and at_end):
            state.best_step = state.steps
            self._export(slot)
        patience = self._values.patience
        state.finished = at_end or (
            dev_loss is not None and 0 < patience <= state.worse
        )
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
        with self._writer.as_default():
            for name in ("train_loss", "dev_loss"):
                if name in row:
                    tf.summary.scalar(
                        f"{name}/{speaker}", row[name], step=state.steps
                    )

    def _log_aggregate(self, rows):
        skipped = self._task.optimizer.skipped.numpy()
        with self._writer.as_default():
            for name in ("train_loss", "dev_loss"):
                values = [row[name] for row in rows if name in row]
                if values:
                    tf.summary.scalar(
                        f"all/mean_{name}", np.mean(values), self._job_step
                    )
            for name, value in (
                ("all/finished", sum(s.finished for s in self.states)),
                ("all/steps_not_finite", skipped.sum()),
            ):
                tf.summary.scalar(name, value, step=self._job_step)
        self._writer.flush()

    def _export(self, slot):
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
        submodel_lib.save(
            self._directory.submodel(speaker),
            self._make_submodel(speaker, summary),
            self._values.submodel_dtype,
        )

    def _write_history(self):
        lines = "".join(json.dumps(row) + "\n" for row in self.history)
        files.write_atomically(self._directory.history, lines.encode())
