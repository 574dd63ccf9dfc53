"""Whisper's encoder and decoder, made of the blocks of `layers.transformer`.

Kernels and tables are zeros until pretrained weights are assigned.
"""

import dataclasses
from collections import abc
from typing import Any, TypeAlias

import keras
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import architecture
from lingvo_like.layers import (
    attention,
    dense,
    normalization,
    sites,
    transformer,
    unprojected,
)

Tensor: TypeAlias = tensor_types.Tensor
# For each decoder block: keys `[batch, heads, head_dim, time]` and values
# `[batch, heads, time, head_dim]`.
KeysAndValues: TypeAlias = list[tuple[Tensor, Tensor]]
# For each decoder block, what it attends to of the encoder's output.
Sources: TypeAlias = list[tuple[Tensor, Tensor] | unprojected.Unprojected]

_KEYS_AND_VALUES = ("source_attention/key", "source_attention/value")


def with_room(caches: KeysAndValues, room: int) -> KeysAndValues:
    """Caches that hold `room` tokens more."""
    return [
        (
            ops.pad(key, ((0, 0), (0, 0), (0, 0), (0, room))),
            ops.pad(value, ((0, 0), (0, 0), (0, room), (0, 0))),
        )
        for key, value in caches
    ]


class _Blocks(keras.layers.Layer):
    """Position embeddings, blocks and the final norm."""

    def __init__(
        self,
        dimensions: architecture.Dimensions,
        block: abc.Callable[..., keras.layers.Layer],
        num_blocks: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dimensions = dimensions
        self.blocks = [
            block(
                dimensions.model_dim,
                dimensions.num_heads,
                dimensions.feed_forward_dim,
                dtype=self.dtype_policy,
                name=f"block_{i}",
            )
            for i in range(num_blocks)
        ]
        self.norm = normalization.LayerNorm(
            dtype=self.dtype_policy, name="norm"
        )

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The inner layers that own weights."""
        return [*self.blocks, self.norm]

    def _weight(self, name: str, *shape: int) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros")

    def _build_blocks(self, num_positions: int) -> None:
        dim = self.dimensions.model_dim
        self.positions = self._weight("positions", num_positions, dim)
        for block in self.blocks:
            block.build((None, None, dim))
        self.norm.build((None, None, dim))
        self.built = True


class Encoder(_Blocks):
    """Two convolutions, the second of stride 2, positions, and blocks."""

    def __init__(
        self, dimensions: architecture.Dimensions, **kwargs: Any
    ) -> None:
        block = transformer.EncoderBlock
        super().__init__(dimensions, block, dimensions.num_blocks, **kwargs)

    def build(self, input_shape: Any = None) -> None:
        dim = self.dimensions.model_dim
        self.convolution_1_kernel = self._weight(
            "convolution_1_kernel", 3, self.dimensions.num_bins, dim
        )
        self.convolution_1_bias = self._weight("convolution_1_bias", dim)
        self.convolution_2_kernel = self._weight(
            "convolution_2_kernel", 3, dim, dim
        )
        self.convolution_2_bias = self._weight("convolution_2_bias", dim)
        self._build_blocks(self.dimensions.max_source_positions)

    def subsample(self, features: Tensor) -> Tensor:
        """`[batch, time, num_bins]` to `[batch, time / 2, model_dim]`."""
        x = ops.cast(features, self.compute_dtype)
        for stride, kernel, bias in (
            (1, self.convolution_1_kernel, self.convolution_1_bias),
            (2, self.convolution_2_kernel, self.convolution_2_bias),
        ):
            kernel = ops.cast(ops.convert_to_tensor(kernel), x.dtype)
            bias = ops.cast(ops.convert_to_tensor(bias), x.dtype)
            x = ops.pad(x, ((0, 0), (1, 1), (0, 0)))
            x = ops.conv(x, kernel, strides=stride, padding="valid")
            x = dense.gelu(x + bias)
        positions = ops.convert_to_tensor(self.positions)[: ops.shape(x)[1]]
        return x + ops.cast(positions, x.dtype)


class Decoder(_Blocks):
    """Token and position embeddings, blocks, and the tied output embedding."""

    def __init__(
        self, dimensions: architecture.Dimensions, **kwargs: Any
    ) -> None:
        block = transformer.DecoderBlock
        num_blocks = dimensions.num_decoder_blocks
        super().__init__(dimensions, block, num_blocks, **kwargs)

    def build(self, input_shape: Any = None) -> None:
        self.tokens = self._weight(
            "tokens", self.dimensions.vocabulary_size, self.dimensions.model_dim
        )
        self._build_blocks(self.dimensions.max_target_positions)

    def embed(self, tokens: Tensor, position: int | Tensor = 0) -> Tensor:
        """Tokens `[batch, time]` to `[batch, time, model_dim]`.

        The first stands at `position`.
        """
        places = position + ops.arange(tokens.shape[1])
        x = ops.take(self.tokens, tokens, axis=0)
        x = x + ops.take(self.positions, places, axis=0)
        return ops.cast(x, self.compute_dtype)

    def hidden_states(
        self,
        tokens: Tensor,
        encoded: Tensor,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> Tensor:
        """The input of the output embedding, by teacher forcing.

        From tokens `[batch, time]` with the prompt and the encoder's output
        `[batch, source_time, model_dim]` to `[batch, time, model_dim]`.
        """
        x = self.embed(tokens)
        mask = attention.causal_mask(tokens.shape[1])
        for index, block in enumerate(self.blocks):
            inside = self._functions_in(index, functions)
            source = block.source(encoded, inside)
            x, _ = block(x, source, mask, functions=inside)
            x = inside.apply(base_model.OUTPUT, x, x)
        return self.norm(x)

    def _functions_in(self, block, functions) -> sites.SiteFunctions:
        return functions.within(
            base_model.block_name(architecture.DECODER, block)
        )

    def logits(self, x: Tensor) -> Tensor:
        """`[..., model_dim]` to `[..., vocabulary_size]` float32."""
        leading = ops.shape(x)[:-1]
        flat = ops.reshape(x, (-1, self.dimensions.model_dim))
        table = ops.cast(ops.convert_to_tensor(self.tokens), x.dtype)
        y = ops.matmul(flat, ops.transpose(table))
        return ops.cast(ops.reshape(y, (*leading, table.shape[0])), "float32")

    def _next_logits(self, x: Tensor) -> Tensor:
        """`logits` of one token of each row, `[batch, model_dim]`."""
        table = ops.cast(ops.convert_to_tensor(self.tokens), x.dtype)
        # The table is far larger than the rest, and is read as it lies in
        # memory: half the time of `logits` for 16 rows on CPU.
        y = ops.transpose(ops.matmul(table, ops.transpose(x)))
        return ops.cast(y, "float32")

    def start(
        self,
        encoded: Tensor,
        prompts: Tensor,
        length: int,
        project: bool = True,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> tuple[Tensor, Sources, KeysAndValues]:
        """Runs the prompts and opens the caches of a search.

        Args:
            encoded: `[batch, source_time, model_dim]`.
            prompts: `[batch, prompt_length]` int32.
            length: number of tokens that the caches hold, with the prompt.
            project: whether keys and values of the encoder's output are
                computed. That pays for long texts and for several beams.

        Returns:
            logits of the first token `[batch, vocabulary_size]`; what each
            block attends to of the encoder's output; and the caches, of the
            tokens.
        """
        x = self.embed(prompts)
        mask = attention.causal_mask(prompts.shape[1])
        shared = None if project else unprojected.shared(encoded)
        sources, caches = [], []
        for index, block in enumerate(self.blocks):
            inside = self._functions_in(index, functions)
            source = (
                block.unprojected_source(*shared)
                if shared
                else block.source(encoded, inside)
            )
            x, cache = block(x, source, mask, functions=inside)
            x = inside.apply(base_model.OUTPUT, x, x)
            sources.append(source)
            caches.append(cache)
        caches = with_room(caches, length - prompts.shape[1])
        return self._next_logits(self.norm(x)[:, -1]), sources, caches

    def projected(self, sources: Sources) -> Sources:
        """The same sources, with keys and values."""
        return [
            block.source(source.values[:, 0])
            if isinstance(source, unprojected.Unprojected)
            else source
            for block, source in zip(self.blocks, sources, strict=True)
        ]

    def step(
        self,
        tokens: Tensor,
        position: Tensor,
        sources: Sources,
        caches: KeysAndValues,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> tuple[Tensor, KeysAndValues]:
        """Runs one more token of every row.

        Args:
            tokens: `[batch * beams]` int32.
            position: int scalar, the tokens' place after the prompt's start.
            sources, caches: from `start`, or caches from `step`.

        Returns:
            logits `[batch * beams, vocabulary_size]` and the caches.
        """
        x = self.embed(tokens[:, None], position)
        mask = ops.arange(caches[0][0].shape[-1]) <= position
        after = []
        for index, block in enumerate(self.blocks):
            inside = self._functions_in(index, functions)
            x, cache = block(
                x,
                sources[index],
                mask,
                caches[index],
                position=position,
                functions=inside,
            )
            x = inside.apply(base_model.OUTPUT, x, x)
            after.append(cache)
        return self._next_logits(self.norm(x)[:, 0]), after


@dataclasses.dataclass(frozen=True)
class SpecialisedDecoder:
    """A decoder with the functions of its sites, as a search uses it."""

    decoder: Decoder
    functions: sites.SiteFunctions

    def start(
        self,
        encoded: Tensor,
        prompts: Tensor,
        length: int,
        project: bool = True,
    ) -> tuple[Tensor, Sources, KeysAndValues]:
        """See `Decoder.start`."""
        # What acts on keys and values needs them.
        project = project or any(
            name.endswith(_KEYS_AND_VALUES) for name in self.functions.names
        )
        return self.decoder.start(
            encoded, prompts, length, project, self.functions
        )

    def projected(self, sources: Sources) -> Sources:
        """See `Decoder.projected`."""
        return self.decoder.projected(sources)

    def step(
        self,
        tokens: Tensor,
        position: Tensor,
        sources: Sources,
        caches: KeysAndValues,
    ) -> tuple[Tensor, KeysAndValues]:
        """See `Decoder.step`."""
        return self.decoder.step(
            tokens, position, sources, caches, self.functions
        )
