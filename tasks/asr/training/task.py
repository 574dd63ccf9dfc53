"""The step: where base model, stack, optimiser and loss meet.

A single-replica view of training: nothing here knows of devices, files or
time. Batches are those of `input_pipeline`.
"""

import tensorflow as tf

from lingvo_like import device_random_streams
from lingvo_like.layers import spec_augment
from lingvo_like.stack import trainable
from lingvo_like.submodel import layout as submodel_layout
from tasks.asr.training import stacks


class SubmodelTask:
    """Trains the Submodels of one job and scores them on dev.

    Args:
        base: a frozen `BaseModel`.
        experiment: `schema.Experiment`.
        speakers: sequence of speaker ids, the slots.
        space: `space.Space` that is kept as it is, while embeddings of the
            speakers are learned in it; None to train what the experiment says.
        slot_rows: `SlotRows`, where the slots' rows are on the replicas that
            share the job; None where it has one replica.

    Attributes:
        stack: the `Stack`, or the `EmbeddingSpace`.
        optimizer: its `SlotAdamW` or `SpaceAdamW`.
        first_block: int, the first block above the lowest adapter's; what is
            below never changes and needs no gradient.
    """

    def __init__(self, base, experiment, speakers, space=None, slot_rows=None):
        if base.trainable:
            raise ValueError("the base model of Submodels must be frozen")
        self.base = base
        self.experiment = experiment
        layout = layout_of(base, experiment.adapter)
        self.first_block = min(layout.blocks) + 1
        self.stack, self.optimizer = stacks.make(
            layout, experiment, speakers, space, slot_rows
        )

    @property
    def state_by_name(self):
        """Every variable that a checkpoint must hold, by name."""
        state = {
            f"weight/{name}": variable
            for name, variable in self.stack.variables_by_name.items()
        }
        for name, variable in self.optimizer.state_by_name.items():
            state[f"optimizer/{name}"] = variable
        return state

    @property
    def shared_names(self) -> set[str]:
        """Names in `state_by_name` that all speakers share.

        Every other variable has a row for each slot.
        """
        return {f"weight/{name}" for name in self.stack.shared_names} | {
            f"optimizer/{name}" for name in self.optimizer.shared_names
        }

    @tf.function(autograph=False)
    def lower(self, audio, lengths):
        """What is frozen: audio `[rows, samples]` to activations, paddings."""
        features, paddings = self.base.features(audio, lengths)
        return self.base.lower(features, paddings, self.first_block)

    @tf.function(autograph=False)
    def train_step(self, batch):
        """One update of every active place.

        Returns:
            losses `[s]`, each speaker's own mean, and gradient norms `[s]`.
        """
        activations, paddings = self._activations(batch, augment=True)
        trainables = self.stack.trainables(batch["row_indices"])
        masks = self._dropout_masks(batch["seeds"], activations)
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
            # A sum, so that a speaker's gradient is that of its own mean.
            total = tf.reduce_sum(losses) + selection_loss
        gradients = tape.gradient(total, trainables)
        norms = self.optimizer.update(
            batch["row_indices"], batch["active"], trainables, gradients
        )
        return losses, norms

    @tf.function(autograph=False)
    def train_steps(self, batches, count):
        """Many updates in one call.

        Args:
            batches: dict like a batch, each tensor with a leading axis of
                steps.
            count: int32 scalar, how many of them to take.

        Returns:
            losses and gradient norms `[steps, s]`, zero after `count`.
        """
        steps, places = batches["row_indices"].shape
        found = [
            tf.TensorArray(tf.float32, steps, element_shape=[places])
            for _ in range(2)
        ]
        nothing = tf.zeros([places])
        for step in range(steps):
            found = [array.write(step, nothing) for array in found]

        def update(step, losses, norms):
            result = self.train_step(
                {name: tensor[step] for name, tensor in batches.items()}
            )
            return (
                step + 1,
                losses.write(step, result[0]),
                norms.write(step, result[1]),
            )

        _, *found = tf.while_loop(
            lambda step, *_: step < count,
            update,
            (tf.constant(0), *found),
            maximum_iterations=steps,
        )
        return tuple(array.stack() for array in found)

    @tf.function(autograph=False)
    def losses(self, batch):
        """Each speaker's mean loss `[s]`, and the weight it has `[s]`."""
        activations, paddings = self._activations(batch, augment=False)
        weights = self.stack.select(batch["row_indices"])
        losses = self._losses(batch, activations, paddings, weights, None)
        return losses, tf.reduce_sum(batch["weights"], axis=1)

    def _activations(self, batch, augment):
        if "activations" in batch:
            return tuple(
                _merge(batch[name])
                for name in ("activations", "activation_paddings")
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
        encoded = self.base.upper(
            activations,
            paddings,
            self.first_block,
            self.stack.site_functions(weights, masks),
        )
        losses = self.base.loss(
            encoded,
            paddings,
            _merge(batch["tokens"]),
            _merge(batch["token_lengths"]),
        )
        counted = batch["weights"]
        losses = tf.where(
            counted > 0.0, tf.reshape(losses, tf.shape(counted)), 0.0
        )
        total = tf.reduce_sum(counted, axis=1)
        return tf.reduce_sum(losses * counted, axis=1) / tf.maximum(total, 1.0)

    def _dropout_masks(self, seeds, activations):
        """Each speaker's own stream: dict of block to `[s, rows, k]`."""
        rate = self.experiment.adapter.dropout_rate
        if not rate:
            return None
        speakers = seeds.shape[0]
        blocks = self.stack.layout.blocks
        rows = activations.shape[0] // speakers * activations.shape[1]
        shape = [len(blocks), rows, self.stack.layout.bottleneck_dim]
        draws = device_random_streams.uniform(shape, seeds)
        kept = tf.where(draws >= rate, 1.0 / (1.0 - rate), 0.0)
        return {block: kept[:, i] for i, block in enumerate(blocks)}


def layout_of(base, adapter):
    """The `Layout` of an experiment's Submodels on a base model.

    Args:
        base: a `BaseModel`.
        adapter: `schema.Adapter`.

    Raises:
        ValueError: an adapter follows a block that the base does not have.
    """
    blocks = tuple(adapter.blocks) or tuple(range(base.num_blocks))
    wrong = [b for b in blocks if not 0 <= b < base.num_blocks]
    if wrong or len(set(blocks)) != len(blocks):
        raise ValueError(
            f"adapter.blocks must be different blocks in [0, "
            f"{base.num_blocks}). Received: {blocks}."
        )
    return submodel_layout.Layout(
        model_dim=base.model_dim,
        bottleneck_dim=adapter.bottleneck_dim,
        blocks=tuple(sorted(blocks)),
    )


def augment_features(features, paddings, freq_masks, time_masks):
    """SpecAugment (Park et al. 2019) with bounds from the input pipeline.

    Args:
        features: `[b, time, num_bins]`.
        paddings: `[b, time]`.
        freq_masks: `[b, masks, 2]`, start in [0, 1] of the room, and width
            in bins.
        time_masks: `[b, masks, 2]`, start in [0, 1] of the valid frames' room,
            and width in frames.
    """
    if not freq_masks.shape[1] and not time_masks.shape[1]:
        return features
    bins = tf.cast(tf.shape(features)[2], tf.float32)
    frames = tf.reduce_sum(1.0 - paddings, axis=1)[:, None]
    bounds = []
    for masks, room in ((freq_masks, bins), (time_masks, frames)):
        # At most a third of what is there, or short words vanish.
        widths = tf.minimum(masks[..., 1], tf.floor(room / 3.0))
        starts = tf.floor(masks[..., 0] * (room - widths + 1.0))
        bounds += [tf.cast(starts, tf.int32), tf.cast(widths, tf.int32)]
    return spec_augment.apply(features, *bounds)


def _merge(tensor):
    """`[s, u, ...]` to `[s * u, ...]`."""
    shape = tensor.shape
    return tf.reshape(tensor, [shape[0] * shape[1], *shape[2:]])
