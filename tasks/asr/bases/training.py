"""Trains all the weights of a base model, on the utterances of all speakers.

From scratch for a Conformer; from pretrained weights, for one speaker, it is
the full fine-tuning that Submodels are compared with.
"""

import contextlib
import time
from collections import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like.base_models import base_model
from params import bases, jobs
from tasks.asr.batches import input_pipeline, minibatch_schedule
from tasks.asr.data import manifest, preparation
from tasks.asr.training import checkpoint, preemption, task

CHECKPOINT_SECONDS = 300
# Of the random streams: one order of the utterances of all speakers.
STREAM_KEY = "everyone"

UtterancesBySpeaker = abc.Mapping[str, abc.Sequence[manifest.Utterance]]


class BaseTrainer:
    """AdamW over every weight of a base model; compiled once for all runs.

    Args:
        base: left frozen again by `run`.
    """

    def __init__(
        self,
        base: base_model.BaseModel,
        values: bases.BaseTraining,
        augment: jobs.Augment,
    ):
        self._base = base
        self._values = values
        self._augment = augment
        base.trainable = True
        self._variables = base.trainable_variables
        schedules: Any = keras.optimizers.schedules
        self._optimizer = keras.optimizers.AdamW(
            schedules.CosineDecay(
                0.0,
                max(1, values.num_steps - values.warmup_steps),
                warmup_target=values.learning_rate,
                warmup_steps=values.warmup_steps,
                alpha=0.01,
            ),
            weight_decay=values.weight_decay,
            global_clipnorm=values.clip_norm or None,
            beta_2=0.98,
        )
        self._optimizer.build(self._variables)

    @property
    def state(self) -> dict[str, Any]:
        """The variables of a checkpoint, by name."""
        state = {
            f"weight/{name}": weight.value
            for name, weight in self._base.named_weights().items()
        }
        for index, variable in enumerate(self._optimizer.variables):
            state[f"optimizer/{index:05d}"] = variable.value
        return state

    def run(
        self,
        train_data: UtterancesBySpeaker,
        dev_data: UtterancesBySpeaker | None = None,
        checkpoints: str = "",
    ) -> list[dict[str, float]]:
        """Trains to the last step, from the newest checkpoint if there is one.

        Without a checkpoint, training starts with the weights that the base
        has now and with empty moments.

        Args:
            checkpoints: folder of checkpoints; empty for none. With one, a
                run that is interrupted saves first.

        Returns:
            The step, train_loss and dev_loss of each evaluation.

        Raises:
            preemption.Stopped: SIGTERM or Ctrl-C came; the checkpoint holds
                everything.
        """
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        first, history = 0, []
        if checkpoints:
            saved = checkpoint.restore(checkpoints, self.state)
            if saved is not None:
                first, history = saved["step"], saved["history"]

        def save(step: int) -> None:
            if checkpoints:
                state = {"step": step, "history": history}
                checkpoint.save(checkpoints, self.state, state)

        notice = preemption.Notice()
        self._base.trainable = True
        with notice if checkpoints else contextlib.nullcontext():
            saved_at = time.monotonic()
            for step in self._steps(train_data, dev_data, first, history):
                is_due = step % self._values.eval_every_steps == 0
                is_late = time.monotonic() - saved_at > CHECKPOINT_SECONDS
                if is_late or is_due or notice.given:
                    saved_at = time.monotonic()
                    save(step)
                if notice.given:
                    raise preemption.Stopped(checkpoints, notice.number)
        save(self._values.num_steps)
        self._base.trainable = False
        return history

    def _steps(self, train_data, dev_data, first, history):
        """Yields the number of each step once it, and its evaluation, is done.

        Args:
            history: grows by an evaluation's row.
        """
        planned, loader = self._schedule_and_loader(train_data)
        last = self._values.num_steps
        groups = [
            minibatch_schedule.Group(minibatch.bucket, ((0, minibatch),))
            for minibatch in map(planned.minibatch, range(first, last))
        ]
        losses = []
        with tqdm.tqdm(
            input_pipeline.dataset(loader.batch, groups),
            desc="training the base",
            total=len(groups),
            unit="step",
        ) as bar:
            for step, batch in enumerate(bar, start=first + 1):
                losses.append(float(self._step(batch)))
                mean = f"{np.mean(losses[-20:]):.3f}"
                bar.set_postfix(loss=mean, refresh=False)
                if step % self._values.eval_every_steps == 0 or step == last:
                    history.append(self._evaluation(step, losses, dev_data))
                    losses = []
                yield step

    def _schedule_and_loader(self, data):
        values, base = self._values, self._base
        utterances = [u for speaker in sorted(data) for u in data[speaker]]
        tokenized = preparation.TokenizedUtterances(tuple(utterances))
        planned = minibatch_schedule.MinibatchSchedule(
            slot=0,
            stream_key=STREAM_KEY,
            num_samples=tokenized.num_samples(base),
            bucket_samples=base.bucket_samples,
            utterances_per_minibatch=values.utterances_per_step,
            seed=values.seed,
            speed_factors=self._augment.speed_factors,
        )
        loader = input_pipeline.Loader(
            {0: tokenized},
            base.sample_rate,
            base.max_tokens,
            base.languages,
            1,
            values.utterances_per_step,
            self._augment,
            values.seed,
        )
        return planned, loader

    def _evaluation(self, step, losses, dev_data):
        row = {"step": step, "train_loss": float(np.mean(losses))}
        if dev_data:
            row["dev_loss"] = self._dev_loss(dev_data)
        tqdm.tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        return row

    def _dev_loss(self, dev_data):
        planned, loader = self._schedule_and_loader(dev_data)
        groups = minibatch_schedule.evaluation_groups({0: planned})
        total = count = 0.0
        for batch in input_pipeline.dataset(loader.batch, groups):
            losses, weights = (x.numpy() for x in self._score(batch))
            total += float((losses * weights).sum())
            count += float(weights.sum())
        return total / count

    @tf.function(autograph=False)
    def _score(self, batch):
        return self._losses(batch, training=False), batch["weights"][0]

    def _losses(self, batch, training):
        base = self._base
        features, paddings = base.features(
            batch["audio"][0], batch["lengths"][0]
        )
        if training:
            features = task.augment_features(
                features,
                paddings,
                batch["freq_masks"][0],
                batch["time_masks"][0],
            )
        encoded, paddings = base.encode(features, paddings, training=training)
        return base.loss(
            encoded,
            paddings,
            batch["tokens"][0],
            batch["token_lengths"][0],
            languages=batch["languages"][0],
        )

    @tf.function(autograph=False)
    def _step(self, batch):
        with tf.GradientTape() as tape:
            losses = self._losses(batch, training=True)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(
            loss,
            [v.value for v in self._variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        self._optimizer.apply(gradients, self._variables)
        return loss
