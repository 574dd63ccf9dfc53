"""A speaker's embedding from a base model's own activations.

The mean and the standard deviation over an utterance's frames tell more about
the speaker than about the words (statistics pooling, Snyder et al. 2018,
"X-vectors"). A speaker's statistics are the mean over the utterances, and two
dense layers turn them into a point of the space.

Letters: s speakers, u utterances of a speaker, t time, d model_dim.
"""

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.layers import layer

Tensor: TypeAlias = tensor_types.Tensor

# Added to variances before the root, whose slope at zero is infinite.
EPSILON = 1e-5


class SpeakerEncoder(layer.Layer):
    """Predicts embeddings from a few utterances of each speaker.

    Everything is computed in float32, whatever the policy: means and deviations
    over thousands of frames differ by less than bfloat16 resolves.

    Args:
        inner_dim: width between the two dense layers.

    Call arguments:
        x: `[s, u, t, d]`, the base's activations after a frozen block.
        paddings: `[s, u, t]`, 1 where a frame is padded.
        weights: `[s, u]`, 0 for filling; None for all ones.

    Returns:
        `[s, embedding_dim]` float32, before the space normalizes it.
    """

    def __init__(
        self,
        model_dim: int,
        embedding_dim: int,
        inner_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_dim = model_dim
        self.embedding_dim = embedding_dim
        self.inner_dim = inner_dim
        self._check_positive("model_dim", "embedding_dim", "inner_dim")
        self.expand = keras.layers.Dense(
            inner_dim, activation="relu", dtype="float32", name="expand"
        )
        # Small at first, so that predictions start near the zero embedding,
        # which is the base.
        self.project = keras.layers.Dense(
            embedding_dim,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
            name="project",
        )
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        width = 2 * self.model_dim
        self.offset = self.add_weight(
            name="offset", shape=(width,), initializer="zeros", autocast=False
        )
        self.scale = self.add_weight(
            name="scale", shape=(width,), initializer="ones", autocast=False
        )
        self.expand.build((None, width))
        self.project.build((None, self.inner_dim))
        self.built = True

    def statistics(self, x: Tensor, paddings: Tensor) -> Tensor:
        """Mean and deviation over the valid frames of each utterance.

        From `[..., t, d]` and paddings `[..., t]` to `[..., 2 d]` float32. An
        utterance without a frame gives zeros.
        """
        shape = ops.shape(x)
        paddings = ops.cast(ops.reshape(paddings, (-1, shape[-2])), "float32")
        x = ops.cast(ops.reshape(x, (-1, shape[-2], shape[-1])), "float32")
        x = paddings_lib.zero_padded(x, paddings)
        valid = ops.cast(paddings_lib.to_mask(paddings), "float32")
        count = ops.maximum(ops.sum(valid, axis=1), 1.0)[:, None]
        mean = ops.sum(x, axis=1) / count
        centered = paddings_lib.zero_padded(x - mean[:, None, :], paddings)
        variance = ops.sum(ops.square(centered), axis=1) / count
        deviation = ops.sqrt(variance + EPSILON) - np.sqrt(EPSILON)
        pooled = ops.concatenate([mean, deviation], axis=-1)
        return ops.reshape(pooled, (*shape[:-2], 2 * self.model_dim))

    def average(
        self, statistics: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """The mean over a speaker's utterances.

        From `[s, u, 2 d]` and weights `[s, u]` to `[s, 2 d]` float32; zeros for
        a speaker without an utterance.
        """
        if weights is None:
            return ops.mean(statistics, axis=1)
        shares = ops.cast(weights, "float32")[..., None]
        kept = ops.where(shares > 0.0, statistics * shares, 0.0)
        total = ops.maximum(ops.sum(shares, axis=1), EPSILON)
        return ops.sum(kept, axis=1) / total

    def predict(self, statistics: Tensor) -> Tensor:
        """Embeddings `[s, embedding_dim]` from averages `[s, 2 d]`."""
        x = (ops.cast(statistics, "float32") - self.offset) * self.scale
        return self.project(self.expand(x))

    def adapt(self, statistics: Tensor) -> None:
        """Sets the offset and scale of the input from the training speakers.

        A few channels of the activations are large for all speakers; the small
        differences in the others tell speakers apart. Offset and scale start
        from here and are trained like every other weight. The statistics
        `[n, 2 d]` are of any number of speakers or utterances.

        Raises:
            ValueError: the statistics have another width, are empty, or are
                not finite.
        """
        values = np.asarray(ops.convert_to_numpy(statistics), np.float32)
        width = 2 * self.model_dim
        if values.ndim != 2 or values.shape[1] != width or not len(values):
            raise ValueError(
                f"`statistics` must be [n, {width}]. Received: "
                f"{list(values.shape)}."
            )
        if not np.isfinite(values).all():
            raise ValueError("`statistics` must be finite")
        deviation = values.std(axis=0)
        # A channel that hardly varies would be scaled up to noise.
        scale = 1.0 / np.maximum(deviation, 0.1 * max(deviation.mean(), 1e-3))
        self.offset.assign(values.mean(axis=0))
        self.scale.assign(scale if len(values) > 1 else np.ones_like(scale))

    def call(
        self, x: Tensor, paddings: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        return self.predict(self.average(self.statistics(x, paddings), weights))

    def compute_output_shape(
        self, x_shape: tuple, *args: Any, **kwargs: Any
    ) -> tuple:
        return (x_shape[0], self.embedding_dim)
