"""The training step, where base model, Submodels, optimizer and loss meet.

This is a single-replica view of training: nothing here knows devices, files or
time. `input_pipeline` makes the batches.

Letters in shapes: s speakers of a step, u utterances of a speaker.
"""

import functools
from collections import abc

import numpy as np
import tensorflow as tf

from lingvo_like import device_random_streams, tensor_types
from lingvo_like.base_models import base_model
from lingvo_like.layers import spec_augment
from lingvo_like.space import file as space_file
from lingvo_like.stack import rows, trainable
from lingvo_like.submodel import sites
from params import schema
from tasks.asr.training import stack_and_optimizer

# The random stream of dropout, beside that of `EmbeddingSpace`.
_DROPOUT_STREAM = 2


class SubmodelTask:
    """Trains the Submodels of one job and scores them on dev.

    Args:
        base: a frozen base model.
        speakers: speaker ids; a speaker's slot is its position.
        space: keeps this space and learns only embeddings of the speakers.
        slot_rows: the rows of the slots, where replicas share the job.

    Attributes:
        first_block: the first encoder block that a Submodel changes;
            everything below needs no gradient.

    Raises:
        ValueError: the base model is not frozen or lacks a site, or the space
            has another layout.
    """

    stack: trainable.TrainableSubmodels
    optimizer: trainable.SubmodelOptimizer

    def __init__(
        self,
        base: base_model.BaseModel,
        experiment: schema.Experiment,
        speakers: abc.Sequence[str],
        space: space_file.Space | None = None,
        slot_rows: rows.SlotRows | None = None,
    ) -> None:
        if base.trainable:
            raise ValueError("the base model of Submodels must be frozen")
        self.base = base
        self.experiment = experiment
        self.stack, self.optimizer = stack_and_optimizer.make(
            base, experiment, speakers, space, slot_rows
        )
        self.first_block = base_model.first_block(
            self.stack.layout.site_names, base.num_blocks
        )

    @property
    def state_by_name(self) -> dict[str, rows.Variable]:
        """Every variable that a checkpoint must hold, by name."""
        weights = self.stack.variables_by_name
        moments = self.optimizer.state_by_name
        return {f"weight/{name}": each for name, each in weights.items()} | {
            f"optimizer/{name}": each for name, each in moments.items()
        }

    @property
    def shared_names(self) -> set[str]:
        """Names in `state_by_name` that all speakers share.

        Every other variable has a row for each slot.
        """
        return {f"weight/{name}" for name in self.stack.shared_names} | {
            f"optimizer/{name}" for name in self.optimizer.shared_names
        }

    @tf.function(autograph=False)
    def lower(
        self, audio: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Audio `[b, samples]` to the frozen activations and their paddings."""
        features, paddings = self.base.features(audio, lengths)
        return self.base.lower(features, paddings, self.first_block)

    @tf.function(autograph=False)
    def train_step(
        self, batch: tensor_types.TensorsByName
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One update of every active place.

        Returns:
            Losses `[s]`, each the mean over the speaker's own utterances, and
            gradient norms `[s]`.
        """
        activations, paddings = self._activations(batch, augment=True)
        trainables = self.stack.trainables(batch["row_indices"])
        masks = self._dropout_masks(batch["seeds"])
        inputs = trainable.StepInputs(
            batch["seeds"],
            batch["active"],
            batch["weights"],
            activations,
            paddings,
        )
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trainables)
            weights, selection_loss = self.stack.select_for_training(
                trainables, inputs
            )
            losses = self._losses(batch, activations, paddings, weights, masks)
            # A sum, so that each speaker's gradient is that of its own loss.
            total = tf.reduce_sum(losses) + selection_loss
        gradients = tape.gradient(total, trainables)
        norms = self.optimizer.update(
            batch["row_indices"], batch["active"], trainables, gradients
        )
        return losses, norms

    @tf.function(autograph=False)
    def train_steps(
        self, batches: tensor_types.TensorsByName, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Many updates in one call.

        Args:
            batches: a batch whose tensors have a leading axis of steps.
            count: int32 scalar, the steps to take.

        Returns:
            Losses and gradient norms `[steps, s]`, zero after `count`.
        """
        steps, places = batches["row_indices"].shape
        found = [
            tf.TensorArray(tf.float32, steps, element_shape=[places])
            for _ in range(2)
        ]
        nothing = tf.zeros([places])
        for step in range(steps):
            found = [array.write(step, nothing) for array in found]

        def update(
            step: tf.Tensor, losses: tf.TensorArray, norms: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            batch = {name: tensor[step] for name, tensor in batches.items()}
            of_step, norms_of_step = self.train_step(batch)
            return (
                step + 1,
                losses.write(step, of_step),
                norms.write(step, norms_of_step),
            )

        _, *found = tf.while_loop(
            lambda step, *_: step < count,
            update,
            (tf.constant(0), *found),
            maximum_iterations=steps,
        )
        return tuple(array.stack() for array in found)

    @tf.function(autograph=False)
    def losses(
        self, batch: tensor_types.TensorsByName
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Each speaker's mean loss `[s]`, and the weight of the mean `[s]`."""
        activations, paddings = self._activations(batch, augment=False)
        weights = self.stack.select(batch["row_indices"])
        losses = self._losses(batch, activations, paddings, weights, None)
        return losses, tf.reduce_sum(batch["weights"], axis=1)

    def _activations(self, batch, augment):
        if "activations" in batch:
            return (
                _merge(batch["activations"]),
                _merge(batch["activation_paddings"]),
            )
        features, paddings = self.base.features(
            _merge(batch["audio"]), _merge(batch["lengths"])
        )
        if augment:
            features = augment_features(
                features,
                paddings,
                _merge(batch["freq_masks"]),
                _merge(batch["time_masks"]),
            )
        return self.base.lower(features, paddings, self.first_block)

    def _losses(self, batch, activations, paddings, weights, masks):
        functions = self.stack.site_functions(weights, masks)
        encoded = self.base.upper(
            activations, paddings, self.first_block, functions
        )
        losses = self.base.loss(
            encoded,
            paddings,
            _merge(batch["tokens"]),
            _merge(batch["token_lengths"]),
            languages=_merge(batch["languages"]),
            functions=functions,
        )
        counted = batch["weights"]
        losses = tf.where(
            counted > 0.0, tf.reshape(losses, tf.shape(counted)), 0.0
        )
        total = tf.reduce_sum(counted, axis=1)
        return tf.reduce_sum(losses * counted, axis=1) / tf.maximum(total, 1.0)

    def _dropout_masks(self, seeds) -> sites.DropoutMasks | None:
        """Draws each speaker's masks from the speaker's own seed."""
        rate = self.experiment.submodel.dropout_rate
        if not rate:
            return None

        pieces = self.stack.layout.pieces
        ends = np.cumsum([piece.kind.dropout_width for piece in pieces])
        own = device_random_streams.fold_in(seeds, _DROPOUT_STREAM)

        # Every draw is an operation for each speaker, so that all pieces share
        # one for each length of time, and have columns of their own in it.
        @functools.cache
        def masks(time: int, rows: int) -> tf.Tensor:
            draws = device_random_streams.uniform((time, rows, ends[-1]), own)
            return tf.where(draws >= rate, 1.0 / (1.0 - rate), 0.0)

        def draw(piece: int, shape: tuple[int, int, int]) -> tf.Tensor:
            time, rows, width = shape
            first = ends[piece] - width
            return masks(time, rows)[:, :, :, first : first + width]

        return draw


def augment_features(
    features: tensor_types.Tensor,
    paddings: tensor_types.Tensor,
    freq_masks: tensor_types.Tensor,
    time_masks: tensor_types.Tensor,
) -> tensor_types.Tensor:
    """SpecAugment (Park et al. 2019) with bounds from the input pipeline.

    Args:
        features: `[b, time, num_bins]`.
        paddings: `[b, time]`.
        freq_masks: `[b, masks, 2]`, the start as a fraction of the possible
            starts, and the width in bins.
        time_masks: `[b, masks, 2]`, the same over the valid frames.
    """
    if not freq_masks.shape[1] and not time_masks.shape[1]:
        return features
    bins = tf.cast(tf.shape(features)[2], tf.float32)
    frames = tf.reduce_sum(1.0 - paddings, axis=1)[:, None]
    bounds = []
    for masks, room in ((freq_masks, bins), (time_masks, frames)):
        # A mask covers at most a third, so that short words do not vanish.
        widths = tf.minimum(masks[..., 1], tf.floor(room / 3.0))
        starts = tf.floor(masks[..., 0] * (room - widths + 1.0))
        bounds += [tf.cast(starts, tf.int32), tf.cast(widths, tf.int32)]
    return spec_augment.apply(features, *bounds)


def _merge(tensor):
    """`[s, u, ...]` to `[s * u, ...]`."""
    shape = tensor.shape
    return tf.reshape(tensor, [shape[0] * shape[1], *shape[2:]])
