"""The Conformer block (Gulati et al. 2020, arXiv 2005.08100)."""

from typing import Any, TypeAlias

from lingvo_like import tensor_types
from lingvo_like.layers import feed_forward, layer, lconv, relative_attention

Tensor: TypeAlias = tensor_types.Tensor


class ConformerBlock(layer.Layer):
    """Half a feed-forward, attention, convolution, half a feed-forward.

    Equation 1 of the paper. Each module starts with its own layer norm, and a
    layer norm ends the block. A valid frame's result depends on the valid
    frames of the same row alone.

    The modules explain the arguments.

    Call arguments:
        x: `[batch, time, model_dim]`; padded frames may hold anything finite.
            The output has its shape.
        paddings: `[batch, time]`.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        kernel_size: int = 32,
        feed_forward_expansion: int = 4,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
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
        self.norm = self._norm("norm")

    def _feed_forward(self, name: str) -> feed_forward.FeedForward:
        return feed_forward.FeedForward(
            self.model_dim,
            self.feed_forward_expansion,
            self.dropout_rate,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, x_shape: Any, paddings_shape: Any = None) -> None:
        self.first_feed_forward.build(x_shape)
        self.attention.build(x_shape)
        self.convolution.build(x_shape)
        self.second_feed_forward.build(x_shape)
        self.norm.build(x_shape)
        self.built = True

    def call(
        self, x: Tensor, paddings: Tensor, training: bool = False
    ) -> Tensor:
        x = x + 0.5 * self.first_feed_forward(x, training=training)
        x = x + self.attention(x, paddings, training=training)
        x = x + self.convolution(x, paddings, training=training)
        x = x + 0.5 * self.second_feed_forward(x, training=training)
        return self.norm(x)
