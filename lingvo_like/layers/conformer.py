"""The Conformer block (Gulati et al. 2020, arXiv 2005.08100)."""

import keras

from lingvo_like.layers import (
    feed_forward,
    lconv,
    normalization,
    relative_attention,
)


class ConformerBlock(keras.layers.Layer):
    """Half a feed-forward, attention, convolution, half a feed-forward.

    Equation 1 of the paper, each module with its own layer norm in front, and
    a layer norm behind the whole. A valid frame's result depends on valid
    frames only, of the same row.

    Args:
        model_dim: int, width of input and output.
        num_heads: int, heads of the attention.
        kernel_size: int, frames of the depthwise convolution.
        feed_forward_expansion: int, width inside the feed-forwards over
            `model_dim`.
        dropout_rate: float, dropout of every module in training.

    Call arguments:
        x: `[batch, time, model_dim]`. Padded frames may hold anything finite.
        paddings: `[batch, time]`.
        training: bool.

    Returns:
        `[batch, time, model_dim]`.
    """

    def __init__(
        self,
        model_dim,
        num_heads,
        kernel_size=32,
        feed_forward_expansion=4,
        dropout_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.feed_forward_expansion = feed_forward_expansion
        self.dropout_rate = dropout_rate
        self.first_feed_forward = self._feed_forward("first_feed_forward")
        self.attention = relative_attention.RelativeAttention(
            model_dim,
            num_heads,
            dropout_rate,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.convolution = lconv.LightConv(
            model_dim,
            kernel_size,
            dropout_rate,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.second_feed_forward = self._feed_forward("second_feed_forward")
        self.norm = normalization.LayerNorm(
            dtype=self.dtype_policy, name="norm"
        )

    def _feed_forward(self, name):
        return feed_forward.FeedForward(
            self.model_dim,
            self.feed_forward_expansion,
            self.dropout_rate,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, x_shape, paddings_shape=None):
        self.first_feed_forward.build(x_shape)
        self.attention.build(x_shape)
        self.convolution.build(x_shape)
        self.second_feed_forward.build(x_shape)
        self.norm.build(x_shape)
        self.built = True

    def call(self, x, paddings, training=False):
        x = x + 0.5 * self.first_feed_forward(x, training=training)
        x = x + self.attention(x, paddings, training=training)
        x = x + self.convolution(x, paddings, training=training)
        x = x + 0.5 * self.second_feed_forward(x, training=training)
        return self.norm(x)

    def get_config(self):
        return {
            **super().get_config(),
            "model_dim": self.model_dim,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "feed_forward_expansion": self.feed_forward_expansion,
            "dropout_rate": self.dropout_rate,
        }
