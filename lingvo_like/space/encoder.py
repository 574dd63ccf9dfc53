"""The speaker encoder of a space that is being trained.

Its weights are kept as rows of one slot, so that the optimiser of slots moves
them, and the layer is called with the weights that a step differentiates by.
"""

import keras
import numpy as np
import tensorflow as tf

from lingvo_like import random_streams
from lingvo_like.layers import speaker_encoder


class SpaceEncoder(tf.Module):
    """A `SpeakerEncoder` whose weights a step can watch.

    Args:
        model_dim: int, the base model's.
        embedding_dim: int, the space's.
        inner_dim: int, width between its dense layers.

    Attributes:
        layer: `SpeakerEncoder`; its own weights are never read.
        variables_by_name: dict of name to variable `[1, ...]`.
    """

    def __init__(self, model_dim, embedding_dim, inner_dim):
        super().__init__(name="space_encoder")
        self.layer = speaker_encoder.SpeakerEncoder(
            model_dim, embedding_dim, inner_dim
        )
        self.variables_by_name = {
            name: tf.Variable(tf.zeros([1, *weight.shape]), name=name)
            for name, weight in weights_by_name(self.layer).items()
        }

    @property
    def config(self):
        """What `restored` makes the layer of again."""
        return {
            "model_dim": self.layer.model_dim,
            "embedding_dim": self.layer.embedding_dim,
            "inner_dim": self.layer.inner_dim,
        }

    def initialize(self, seed):
        """Draws the weights; predictions start near the zero embedding."""
        for name, variable in self.variables_by_name.items():
            shape = tuple(variable.shape)
            value = np.zeros(shape)
            if name == "scale":
                value = np.ones(shape)
            elif name.endswith("/kernel"):
                draw = random_streams.generator("speaker_encoder", seed, name)
                value = draw.standard_normal(shape)
                inner = name.startswith("expand")
                value *= np.sqrt(2.0 / shape[1]) if inner else 0.01
            variable.assign(value.astype(np.float32))

    def adapt(self, statistics):
        """As `SpeakerEncoder.adapt`: statistics `[n, 2 model_dim]`."""
        self.layer.adapt(statistics)
        weights = weights_by_name(self.layer)
        for name in ("offset", "scale"):
            self.variables_by_name[name].assign(weights[name].value[None])

    def spread(self, predictions, deviation):
        """Centres what is predicted, and scales it, by the last layer.

        Args:
            predictions: `[n, embedding_dim]` of the weights as they are.
            deviation: float, of each element of the predictions from then on.
        """
        scale = deviation / np.maximum(predictions.std(axis=0), 1e-8)
        kernel = self.variables_by_name["project/kernel"]
        kernel.assign(kernel * scale)
        bias = self.variables_by_name["project/bias"]
        bias.assign((bias - predictions.mean(axis=0)) * scale)

    def take_up(self, tensors):
        """Starts from the weights of a space's file, by name."""
        for name, variable in self.variables_by_name.items():
            variable.assign(tensors[name][None])

    def tensors(self):
        """The weights now: dict of name to `[1, ...]`."""
        return {
            name: tf.convert_to_tensor(variable)
            for name, variable in self.variables_by_name.items()
        }

    def statistics(self, activations, paddings, weights):
        """What the encoder hears of a step's speakers.

        Args:
            activations: `[s * u, t, model_dim]`.
            paddings: `[s * u, t]`.
            weights: `[s, u]`, 0 where an utterance is only filling.

        Returns:
            `[s, 2 model_dim]`; zeros for a place without an utterance.
        """
        each = self.layer.statistics(activations, paddings)
        shape = tf.shape(weights)
        each = tf.reshape(each, [shape[0], shape[1], each.shape[-1]])
        return self.layer.average(each, weights)

    def predict(self, tensors, statistics):
        """Embeddings `[s, embedding_dim]` under the weights `tensors`."""
        weights = weights_by_name(self.layer)
        mapping = [(weights[name], tensors[name][0]) for name in weights]
        with keras.StatelessScope(state_mapping=mapping):
            return self.layer.predict(statistics)


def weights_by_name(layer):
    """A `SpeakerEncoder`'s weights by names that do not tell its own."""
    return {weight.path.partition("/")[2]: weight for weight in layer.weights}


def restored(config, tensors):
    """The `SpeakerEncoder` of a space's file.

    Args:
        config: dict, `SpaceEncoder.config`.
        tensors: dict of name to array.

    Raises:
        ValueError: the config or the tensors are of another layer.
    """
    try:
        layer = speaker_encoder.SpeakerEncoder(**config)
    except TypeError as error:
        raise ValueError(f"not a speaker encoder's: {error}") from None
    weights = weights_by_name(layer)
    if set(weights) != set(tensors):
        raise ValueError(
            f"a speaker encoder has the tensors {', '.join(sorted(weights))}. "
            f"Received: {', '.join(sorted(tensors))}."
        )
    for name, weight in weights.items():
        weight.assign(tensors[name])
    return layer
