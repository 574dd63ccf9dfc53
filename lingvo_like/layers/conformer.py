"""The Conformer block (Gulati et al. 2020, arXiv 2005.08100)."""

from typing import Any, TypeAlias

import keras

from lingvo_like import tensor_types
from lingvo_like.layers import (
    feed_forward,
    layer,
    lconv,
    relative_attention,
    sites,
)

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
        functions: those of the sites inside of the block, see `block_sites`.
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
        self,
        x: Tensor,
        paddings: Tensor,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        def inside(module: keras.layers.Layer) -> dict[str, Any]:
            functions_inside = functions.within(module.name)
            return {"functions": functions_inside, "training": training}

        first, second = self.first_feed_forward, self.second_feed_forward
        x = x + 0.5 * first(x, **inside(first))
        x = x + self.attention(x, paddings, **inside(self.attention))
        x = x + self.convolution(x, paddings, **inside(self.convolution))
        x = x + 0.5 * second(x, **inside(second))
        return self.norm(x)

    def kernel(self, site: str) -> Tensor:
        """The kernel of one of the block's projections, see `block_sites`."""
        module, _, name = site.partition("/")
        return getattr(self, module).kernel(name)


def block_sites(
    prefix: str, model_dim: int, expansion: int
) -> list[sites.Site]:
    """The sites of a block, and its output, in the order of the model.

    Args:
        prefix: the block's name.
        expansion: inner width of a feed-forward network, over `model_dim`.
    """

    def feed_forward_sites(name: str) -> list[sites.Site]:
        return sites.feed_forward_sites(
            f"{prefix}/{name}", model_dim, expansion * model_dim
        )

    return [
        *feed_forward_sites("first_feed_forward"),
        *sites.attention_sites(f"{prefix}/attention", model_dim),
        sites.projection(
            f"{prefix}/convolution/expand", model_dim, 2 * model_dim
        ),
        sites.projection(
            f"{prefix}/convolution/contract", model_dim, model_dim
        ),
        *feed_forward_sites("second_feed_forward"),
        sites.activation(f"{prefix}/output", model_dim),
    ]
