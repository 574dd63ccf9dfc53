"""The speaker encoder of a space that is being trained.

Its weights are rows of one slot, so that the optimizer of slots moves them. The
layer is called with the weights that a step differentiates by.
"""

from collections import abc
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from lingvo_like import random_streams, tensor_types
from lingvo_like.layers import speaker_encoder
from lingvo_like.stack import rows

Tensor: TypeAlias = tensor_types.Tensor


class SpaceEncoder(tf.Module):
    """A `SpeakerEncoder` whose weights a step can watch.

    Attributes:
        layer: `SpeakerEncoder`; its own weights are never read.
        variables_by_name: variables `[1, ...]` by name.
    """

    def __init__(
        self, model_dim: int, embedding_dim: int, inner_dim: int
    ) -> None:
        super().__init__(name="space_encoder")
        self.layer = speaker_encoder.SpeakerEncoder(
            model_dim, embedding_dim, inner_dim
        )
        self.variables_by_name: dict[str, rows.Variable] = {
            name: tf.Variable(tf.zeros([1, *weight.shape]), name=name)
            for name, weight in weights_by_name(self.layer).items()
        }

    @property
    def config(self) -> dict[str, int]:
        """The arguments from which `restored` makes the layer again."""
        return {
            "model_dim": self.layer.model_dim,
            "embedding_dim": self.layer.embedding_dim,
            "inner_dim": self.layer.inner_dim,
        }

    def initialize(self, seed: int) -> None:
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

    def adapt(self, statistics: Tensor) -> None:
        """Adapts to statistics `[n, 2 model_dim]`; see `SpeakerEncoder`."""
        self.layer.adapt(statistics)
        weights = weights_by_name(self.layer)
        for name in ("offset", "scale"):
            self.variables_by_name[name].assign(weights[name].value[None])

    def spread(self, predictions: np.ndarray, deviation: float) -> None:
        """Centres and scales the predictions, by the last layer.

        These are `[n, embedding_dim]` under the weights as they are; each
        element then has this standard deviation.
        """
        scale = deviation / np.maximum(predictions.std(axis=0), 1e-8)
        kernel = self.variables_by_name["project/kernel"]
        kernel.assign(kernel * scale)
        bias = self.variables_by_name["project/bias"]
        bias.assign((bias - predictions.mean(axis=0)) * scale)

    def set_weights(self, tensors: abc.Mapping[str, np.ndarray]) -> None:
        """Puts the weights from a space's file, by name."""
        for name, variable in self.variables_by_name.items():
            variable.assign(tensors[name][None])

    def tensors(self) -> dict[str, tf.Tensor]:
        """The current weights `[1, ...]` by name."""
        return {
            name: tf.convert_to_tensor(variable)
            for name, variable in self.variables_by_name.items()
        }

    def statistics(
        self,
        activations: Tensor,
        paddings: Tensor,
        utterance_weights: Tensor,
    ) -> Tensor:
        """The encoder's input, averaged over each speaker's utterances.

        Args:
            activations: `[s * u, t, model_dim]`.
            paddings: `[s * u, t]`.
            utterance_weights: `[s, u]`, 0 for filling.

        Returns:
            `[s, 2 model_dim]`; zeros for a speaker without an utterance.
        """
        each = self.layer.statistics(activations, paddings)
        shape = tf.shape(utterance_weights)
        each = tf.reshape(each, [shape[0], shape[1], each.shape[-1]])
        return self.layer.average(each, utterance_weights)

    def predict(
        self, tensors: tensor_types.TensorsByName, statistics: Tensor
    ) -> Tensor:
        """Embeddings `[s, embedding_dim]` under the weights `tensors`."""
        weights = weights_by_name(self.layer)
        mapping = [(weights[name], tensors[name][0]) for name in weights]
        with keras.StatelessScope(state_mapping=mapping):
            return self.layer.predict(statistics)


def weights_by_name(
    layer: speaker_encoder.SpeakerEncoder,
) -> dict[str, keras.Variable]:
    """The layer's weights, by names without the layer's own."""
    return {weight.path.partition("/")[2]: weight for weight in layer.weights}


def restored(
    config: abc.Mapping[str, Any], tensors: abc.Mapping[str, np.ndarray]
) -> speaker_encoder.SpeakerEncoder:
    """The `SpeakerEncoder` of a space's file, with a `SpaceEncoder.config`.

    Raises:
        ValueError: the config or the tensors are those of another layer.
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
