"""Convolutional subsampling of four feature frames to one activation."""

from typing import Any, TypeAlias

import keras
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.layers import layer

Tensor: TypeAlias = tensor_types.Tensor

FACTOR = 4


def subsample_paddings(paddings: Tensor) -> Tensor:
    """Paddings `[batch, time]` to `[batch, ceil(time / 4)]`.

    An output frame is valid if the input frame at its centre is.
    """
    return paddings[:, ::FACTOR]


class ConvSubsampling(layer.Layer):
    """Two 3x3 convolutions of stride 2 and a projection (Gulati et al. 2020).

    The input is surrounded by one zero on each side explicitly. "same" padding
    would depend on the parity of the padded length, and the same utterance
    would come out differently in another bucket.

    Args:
        model_dim: channels of the convolutions and width of the output.
        dropout_rate: of the output, in training.

    Call arguments:
        features: `[batch, time, num_bins]`; num_bins is static.
        paddings: `[batch, time]`.

    Returns:
        `[batch, ceil(time / 4), model_dim]`.
    """

    def __init__(
        self, model_dim: int, dropout_rate: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model_dim = model_dim
        self.dropout_rate = dropout_rate
        self.first_conv = self._conv("first_conv")
        self.second_conv = self._conv("second_conv")
        self.projection = self._dense(model_dim, "projection")
        self.dropout = self._dropout(dropout_rate, "dropout")

    def _conv(self, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            self.model_dim,
            3,
            strides=2,
            padding="valid",
            activation="relu",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, features_shape: Any, paddings_shape: Any = None) -> None:
        batch, _, num_bins = features_shape
        # Time is left open: Keras does not know of the zeros around it.
        self.first_conv.build((batch, None, num_bins, 1))
        num_bins = -(-num_bins // 2)
        self.second_conv.build((batch, None, num_bins, self.model_dim))
        num_bins = -(-num_bins // 2)
        self.projection.build((batch, None, num_bins * self.model_dim))
        self.built = True

    def call(
        self, features: Tensor, paddings: Tensor, training: bool = False
    ) -> Tensor:
        x = features[:, :, :, None]
        x = self.first_conv(_surrounded(x, paddings))
        x = self.second_conv(_surrounded(x, paddings[:, ::2]))
        time = ops.shape(x)[1]
        x = ops.reshape(x, (-1, time, x.shape[2] * x.shape[3]))
        return self.dropout(self.projection(x), training=training)


def _surrounded(x: Tensor, paddings: Tensor) -> Tensor:
    x = paddings_lib.zero_padded(x, paddings)
    return ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
