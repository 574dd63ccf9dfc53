"""Trains all the weights of a base model, on everybody's utterances.

From scratch for a Conformer; from pretrained weights, for one speaker, it is
the full fine-tuning that Submodels are compared with.
"""

import time

import keras
import numpy as np
import tensorflow as tf
import tqdm

from tasks.asr.batches import input_pipeline, schedule
from tasks.asr.training import checkpoint, task

CHECKPOINT_SECONDS = 300
# Of the random streams: one order of the utterances of all speakers.
STREAM_KEY = "everyone"


class BaseTrainer:
    """AdamW over every weight of a base model.

    Args:
        base: a `BaseModel`; left frozen again by `run`.
        values: `schema.BaseTraining`.
        augment: `schema.Augment`.
        train_data: dict of speaker to a list of `Utterance`.
        dev_data: the same, or empty for none.
        checkpoints: str, folder of checkpoints; empty for none.
    """

    def __init__(
        self, base, values, augment, train_data, dev_data, checkpoints=""
    ):
        self._base = base
        self._values = values
        self._augment = augment
        self._train = self._together(train_data)
        self._dev = self._together(dev_data) if dev_data else {}
        self._checkpoints = checkpoints
        base.trainable = True
        self._variables = base.trainable_variables
        rate = values.learning_rate
        self._optimizer = keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                0.0,
                max(1, values.num_steps - values.warmup_steps),
                warmup_target=rate,
                warmup_steps=values.warmup_steps,
                alpha=0.01,
            ),
            weight_decay=values.weight_decay,
            global_clipnorm=values.clip_norm or None,
            beta_2=0.98,
        )
        self._optimizer.build(self._variables)
        self.history = []

    def _together(self, data):
        utterances = [u for speaker in sorted(data) for u in data[speaker]]
        return input_pipeline.TokenizedUtterances(
            utterances=tuple(utterances),
            tokens=tuple(each.tokens for each in utterances),
        )

    def _pieces(self, data):
        values, base = self._values, self._base
        planned = schedule.MinibatchSchedule(
            0,
            STREAM_KEY,
            data.num_samples(base),
            base.bucket_samples,
            values.utterances_per_step,
            values.seed,
            self._augment.speed_factors,
        )
        loader = input_pipeline.Loader(
            {0: data},
            base.sample_rate,
            base.max_tokens,
            1,
            values.utterances_per_step,
            self._augment,
            values.seed,
        )
        return planned, loader

    @property
    def state(self):
        """Dict of name to variable: what a checkpoint holds."""
        state = {
            f"weight/{name}": weight.value
            for name, weight in self._base.named_weights().items()
        }
        for index, variable in enumerate(self._optimizer.variables):
            state[f"optimizer/{index:05d}"] = variable.value
        return state

    def run(self):
        """Trains to the last step, going on from a checkpoint if there is one.

        Returns:
            list of dicts {step, train_loss, dev_loss}.
        """
        first = 0
        if self._checkpoints:
            saved = checkpoint.restore(self._checkpoints, self.state)
            if saved is not None:
                first, self.history = saved["step"], saved["history"]
        planned, loader = self._pieces(self._train)
        groups = [
            schedule.Group(m.bucket, (m,))
            for m in map(
                planned.minibatch, range(first, self._values.num_steps)
            )
        ]
        self._base.trainable = True
        losses, saved_at = [], time.monotonic()
        bar = tqdm.tqdm(
            input_pipeline.dataset(loader.batch, groups),
            desc="training the base",
            total=len(groups),
            unit="step",
        )
        for index, batch in enumerate(bar, start=first + 1):
            losses.append(float(self._step(batch)))
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            due = index % self._values.eval_every_steps == 0
            if due or index == self._values.num_steps:
                self._record(index, losses)
                losses = []
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS or due:
                saved_at = time.monotonic()
                self._save(index)
        self._save(self._values.num_steps)
        self._base.trainable = False
        return self.history

    def start_over(self, train_data):
        """Gets ready to train the same base again, compiled once for all.

        Moments, schedule and history begin again; weights are the caller's.

        Args:
            train_data: dict of speaker to a list of `Utterance`.
        """
        self._train = self._together(train_data)
        self.history = []
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))

    def _save(self, step):
        if self._checkpoints:
            checkpoint.save(
                self._checkpoints,
                self.state,
                {"step": step, "history": self.history},
            )

    def _record(self, step, losses):
        row = {"step": step, "train_loss": float(np.mean(losses))}
        if self._dev:
            row["dev_loss"] = self._dev_loss()
        self.history.append(row)
        tqdm.tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def _dev_loss(self):
        planned, loader = self._pieces(self._dev)
        groups = schedule.evaluation_groups({0: planned}, 1)
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
            encoded, paddings, batch["tokens"][0], batch["token_lengths"][0]
        )

    @tf.function(autograph=False)
    def _step(self, batch):
        with tf.GradientTape() as tape:
            losses = self._losses(batch, training=True)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(
            loss,
            [v.value for v in self._variables],
            unconnected_gradients="zero",
        )
        self._optimizer.apply(gradients, self._variables)
        return loss
