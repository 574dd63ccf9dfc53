"""Lean pre-norm Transformer blocks, those of Whisper (Radford et al. 2022).

They use plain operations for speed, such as one product for query, key and
value. Keys have no bias because it would not change a softmax.
"""

from typing import Any, TypeAlias

import keras
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import (
    attention,
    dense,
    layer as layer_lib,
    sites as sites_lib,
    unprojected,
)

Tensor: TypeAlias = tensor_types.Tensor


def block_sites(
    prefix: str, model_dim: int, inner_dim: int, has_source: bool
) -> list[sites_lib.Site]:
    """The sites of a block, and its output, in the order of the model.

    Args:
        prefix: the block's name.
        inner_dim: inner width of the feed-forward network.
        has_source: whether the block attends to an encoder's output.
    """
    attentions = ["attention", "source_attention"][: 1 + has_source]
    return [
        *(
            site
            for name in attentions
            for site in sites_lib.attention_sites(f"{prefix}/{name}", model_dim)
        ),
        *sites_lib.feed_forward_sites(
            f"{prefix}/feed_forward", model_dim, inner_dim
        ),
        sites_lib.activation(f"{prefix}/output", model_dim),
    ]


class _Block(layer_lib.Layer):
    """Self attention's weights, and the feed-forward network.

    Kernels are zeros until pretrained ones are assigned. Drawing the initial
    kernels of a large model, only to replace them, takes a minute.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        feed_forward_dim: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if model_dim % num_heads:
            raise ValueError(
                "`model_dim` must be a multiple of `num_heads`. Received: "
                f"model_dim={model_dim}, num_heads={num_heads}."
            )
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.attention_norm = self._norm("attention_norm")
        self.feed_forward_norm = self._norm("feed_forward_norm")

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The inner layers that own weights."""
        return [self.attention_norm, self.feed_forward_norm]

    def build(self, input_shape: Any, *args: Any) -> None:
        dim, inner = self.model_dim, self.feed_forward_dim
        self.attention_norm.build((None, None, dim))
        self.query_key_value_kernel = self._weight(
            "query_key_value_kernel", dim, 3 * dim
        )
        self.query_bias = self._weight("query_bias", dim)
        self.value_bias = self._weight("value_bias", dim)
        self.output_kernel = self._weight("output_kernel", dim, dim)
        self.output_bias = self._weight("output_bias", dim)
        self.feed_forward_norm.build((None, None, dim))
        self.expand_kernel = self._weight("expand_kernel", dim, inner)
        self.expand_bias = self._weight("expand_bias", inner)
        self.contract_kernel = self._weight("contract_kernel", inner, dim)
        self.contract_bias = self._weight("contract_bias", dim)

    def kernel(self, site: str) -> Tensor:
        """The kernel of one of the block's projections.

        Raises:
            ValueError: there is no such projection.
        """
        dim = self.model_dim
        joint = self.query_key_value_kernel
        kernels = {
            "attention/query": lambda: joint[:, :dim],
            "attention/key": lambda: joint[:, dim : 2 * dim],
            "attention/value": lambda: joint[:, 2 * dim :],
            "attention/output": lambda: self.output_kernel,
            "feed_forward/expand": lambda: self.expand_kernel,
            "feed_forward/contract": lambda: self.contract_kernel,
        }
        if site not in kernels:
            raise ValueError(
                f"a block has the projections {', '.join(kernels)}. "
                f"Received: {site!r}."
            )
        return kernels[site]()

    def _query_key_value(
        self, x: Tensor, functions: sites_lib.SiteFunctions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The three inputs of self attention, by head."""
        query_bias = ops.convert_to_tensor(self.query_bias)
        value_bias = ops.convert_to_tensor(self.value_bias)
        key_bias = ops.zeros_like(query_bias)
        bias = ops.concatenate([query_bias, key_bias, value_bias])
        joint = dense.linear(x, self.query_key_value_kernel, bias)
        query, key, value = ops.split(joint, 3, axis=-1)
        query = functions.apply("attention/query", x, query)
        key = functions.apply("attention/key", x, key)
        value = functions.apply("attention/value", x, value)
        return (
            attention.split_heads(query, self.num_heads),
            attention.split_heads(key, self.num_heads, transposed=True),
            attention.split_heads(value, self.num_heads),
        )

    def _attention_output(
        self, attended: Tensor, functions: sites_lib.SiteFunctions
    ) -> Tensor:
        y = dense.linear(attended, self.output_kernel, self.output_bias)
        return functions.apply("attention/output", attended, y)

    def _feed_forward(
        self, x: Tensor, functions: sites_lib.SiteFunctions
    ) -> Tensor:
        inside = functions.within("feed_forward")
        y = self.feed_forward_norm(x)
        z = dense.linear(y, self.expand_kernel, self.expand_bias)
        z = dense.gelu(inside.apply("expand", y, z))
        z = inside.apply("inner", z, z)
        y = dense.linear(z, self.contract_kernel, self.contract_bias)
        return x + inside.apply("contract", z, y)


class EncoderBlock(_Block):
    """Self attention over every frame, then a feed-forward network.

    Call arguments:
        x: `[batch, time, model_dim]`; the output has its shape.
        functions: those of the sites inside of the block, see `block_sites`.
    """

    def call(
        self, x: Tensor, functions: sites_lib.SiteFunctions = sites_lib.NONE
    ) -> Tensor:
        query, key, value = self._query_key_value(
            self.attention_norm(x), functions
        )
        attended = attention.merge_heads(attention.attend(query, key, value))
        x = x + self._attention_output(attended, functions)
        return self._feed_forward(x, functions)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return tuple(input_shape)


class DecoderBlock(_Block):
    """Self attention, attention to the encoder, and a feed-forward network.

    Call arguments:
        x: `[batch * beams, time, model_dim]`.
        source: keys and values of the encoder's output, from `source`; or the
            output itself, from `unprojected_source`.
        mask: boolean `[time, source_time]` of the self attention.
        cache: None; or the keys `[batch * beams, heads, head_dim, length]` and
            values `[batch * beams, heads, length, head_dim]` so far, where
            `time` is 1.
        position: int scalar, the place of this step in the cache.
        functions: those of the sites inside of the block, see `block_sites`.

    Returns:
        the output, of the shape of `x`, and the keys and values attended to.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        feed_forward_dim: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_dim, num_heads, feed_forward_dim, **kwargs)
        self.source_norm = self._norm("source_norm")

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        return [*super().sublayers, self.source_norm]

    def build(self, input_shape: Any, *args: Any) -> None:
        super().build(input_shape)
        dim = self.model_dim
        self.source_norm.build((None, None, dim))
        self.source_query_kernel = self._weight("source_query_kernel", dim, dim)
        self.source_query_bias = self._weight("source_query_bias", dim)
        self.source_key_value_kernel = self._weight(
            "source_key_value_kernel", dim, 2 * dim
        )
        self.source_value_bias = self._weight("source_value_bias", dim)
        self.source_output_kernel = self._weight(
            "source_output_kernel", dim, dim
        )
        self.source_output_bias = self._weight("source_output_bias", dim)

    def kernel(self, site: str) -> Tensor:
        dim = self.model_dim
        joint = self.source_key_value_kernel
        kernels = {
            "source_attention/query": lambda: self.source_query_kernel,
            "source_attention/key": lambda: joint[:, :dim],
            "source_attention/value": lambda: joint[:, dim:],
            "source_attention/output": lambda: self.source_output_kernel,
        }
        return kernels[site]() if site in kernels else super().kernel(site)

    def source(
        self,
        encoded: Tensor,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's output, computed once.

        Args:
            encoded: `[batch, source_time, model_dim]`.
            functions: see `call`.

        Returns:
            keys `[batch, heads, head_dim, source_time]` and values
            `[batch, heads, source_time, head_dim]`.
        """
        value_bias = ops.convert_to_tensor(self.source_value_bias)
        bias = ops.concatenate([ops.zeros_like(value_bias), value_bias])
        joint = dense.linear(encoded, self.source_key_value_kernel, bias)
        key, value = ops.split(joint, 2, axis=-1)
        key = functions.apply("source_attention/key", encoded, key)
        value = functions.apply("source_attention/value", encoded, value)
        return (
            attention.split_heads(key, self.num_heads, transposed=True),
            attention.split_heads(value, self.num_heads),
        )

    def unprojected_source(
        self, keys: Tensor, values: Tensor
    ) -> unprojected.Unprojected:
        """The encoder's output, of `unprojected.shared`, as it is.

        Less work than `source` for texts of fewer tokens than a head is wide.
        """
        weights = unprojected.kernels(
            self.source_key_value_kernel,
            self.source_value_bias,
            self.num_heads,
            values.dtype,
        )
        return unprojected.Unprojected(keys, values, *weights)

    def call(
        self,
        x: Tensor,
        source: tuple[Tensor, Tensor] | unprojected.Unprojected,
        mask: Tensor,
        cache: tuple[Tensor, Tensor] | None = None,
        position: int | Tensor = 0,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = self._query_key_value(
            self.attention_norm(x), functions
        )
        if cache is not None:
            here = ops.arange(cache[0].shape[-1]) == position
            key = ops.where(here, key, cache[0])
            value = ops.where(here[:, None], value, cache[1])
        attended = attention.merge_heads(
            attention.attend(query, key, value, mask)
        )
        x = x + self._attention_output(attended, functions)
        x = x + self._attend_to_source(self.source_norm(x), source, functions)
        return self._feed_forward(x, functions), (key, value)

    def _attend_to_source(self, x, source, functions) -> Tensor:
        inside = functions.within("source_attention")
        shape = ops.shape(x)
        query = dense.linear(
            x, self.source_query_kernel, self.source_query_bias
        )
        query = inside.apply("query", x, query)
        # The beams of an utterance query the same source, whose keys and values
        # are not copied for each beam.
        query = ops.reshape(query, (ops.shape(source[0])[0], -1, shape[-1]))
        query = attention.split_heads(query, self.num_heads)
        if isinstance(source, unprojected.Unprojected):
            attended = source.from_source(
                attention.attend(
                    source.to_source(query), source.keys, source.values
                ),
                self.num_heads,
            )
        else:
            attended = attention.attend(query, *source)
        x = ops.reshape(attention.merge_heads(attended), shape)
        y = dense.linear(x, self.source_output_kernel, self.source_output_bias)
        return inside.apply("output", x, y)
