"""Whisper's encoder and decoder in the project's own lean layers.

For pretrained weights: kernels and tables are zeros until those are assigned.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from lingvo_like.layers import normalization, transformer


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """The shape of a Whisper.

    Attributes:
        num_bins: mel bins of the frontend, 80 or 128.
        model_dim: width of encoder and decoder.
        num_heads: attention heads of both.
        num_blocks: encoder blocks.
        num_decoder_blocks: decoder blocks.
        feed_forward_dim: inner width of the feed-forward networks.
        vocabulary_size: rows of the token embedding.
        max_source_positions: encoder frames, 1500 for 30 s.
        max_target_positions: decoder tokens with the prompt, 448.
    """

    num_bins: int
    model_dim: int
    num_heads: int
    num_blocks: int
    num_decoder_blocks: int
    feed_forward_dim: int
    vocabulary_size: int
    max_source_positions: int = 1500
    max_target_positions: int = 448


class _Blocks(keras.layers.Layer):
    """What encoder and decoder share: positions, blocks and the last norm."""

    def __init__(self, dimensions, block, num_blocks, **kwargs):
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
    def sublayers(self):
        """Layers inside this one that own weights."""
        return [*self.blocks, self.norm]

    def _weight(self, name, *shape):
        return self.add_weight(name=name, shape=shape, initializer="zeros")

    def _build_blocks(self, num_positions):
        dim = self.dimensions.model_dim
        self.positions = self._weight("positions", num_positions, dim)
        for block in self.blocks:
            block.build((None, None, dim))
        self.norm.build((None, None, dim))
        self.built = True


class Encoder(_Blocks):
    """Two convolutions, the second of stride 2, positions, and blocks.

    Args:
        dimensions: `Dimensions`.
    """

    def __init__(self, dimensions, **kwargs):
        super().__init__(
            dimensions,
            transformer.EncoderBlock,
            dimensions.num_blocks,
            **kwargs,
        )

    def build(self, input_shape=None):
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

    def subsample(self, features):
        """`[batch, time, num_bins]` to `[batch, time / 2, model_dim]`."""
        x = ops.cast(features, self.compute_dtype)
        x = self._convolve(
            x, self.convolution_1_kernel, self.convolution_1_bias, 1
        )
        x = self._convolve(
            x, self.convolution_2_kernel, self.convolution_2_bias, 2
        )
        positions = ops.convert_to_tensor(self.positions)[: ops.shape(x)[1]]
        return x + ops.cast(positions, x.dtype)

    def _convolve(self, x, kernel, bias, stride):
        x = ops.pad(x, ((0, 0), (1, 1), (0, 0)))
        x = ops.conv(
            x,
            ops.cast(ops.convert_to_tensor(kernel), x.dtype),
            strides=stride,
            padding="valid",
        )
        return transformer.gelu(
            x + ops.cast(ops.convert_to_tensor(bias), x.dtype)
        )


class Decoder(_Blocks):
    """Token and position embedding, blocks, and the tied output embedding.

    Args:
        dimensions: `Dimensions`.
    """

    def __init__(self, dimensions, **kwargs):
        super().__init__(
            dimensions,
            transformer.DecoderBlock,
            dimensions.num_decoder_blocks,
            **kwargs,
        )

    def build(self, input_shape=None):
        self.tokens = self._weight(
            "tokens", self.dimensions.vocabulary_size, self.dimensions.model_dim
        )
        self._build_blocks(self.dimensions.max_target_positions)

    def embed(self, tokens, position=0):
        """Tokens `[batch, time]` to `[batch, time, model_dim]`.

        Args:
            tokens: int32.
            position: int or int scalar tensor, of the first token.
        """
        places = position + ops.arange(tokens.shape[1])
        x = ops.take(self.tokens, tokens, axis=0)
        x = x + ops.take(self.positions, places, axis=0)
        return ops.cast(x, self.compute_dtype)

    def hidden_states(self, tokens, encoded):
        """What the output embedding reads, for teacher forcing.

        Args:
            tokens: `[batch, time]` int32, prompt included.
            encoded: `[batch, source_time, model_dim]`.

        Returns:
            `[batch, time, model_dim]`.
        """
        x = self.embed(tokens)
        mask = transformer.causal_mask(tokens.shape[1])
        for block in self.blocks:
            x, _ = block(x, block.source(encoded), mask)
        return self.norm(x)

    def logits(self, x):
        """`[..., model_dim]` to `[..., vocabulary_size]` float32."""
        leading = ops.shape(x)[:-1]
        flat = ops.reshape(x, (-1, self.dimensions.model_dim))
        table = ops.cast(ops.convert_to_tensor(self.tokens), x.dtype)
        y = ops.matmul(flat, ops.transpose(table))
        return ops.cast(ops.reshape(y, (*leading, table.shape[0])), "float32")

    def start(self, encoded, prompt, length):
        """Runs the prompt and opens the cache of a decoding.

        Args:
            encoded: `[batch, source_time, model_dim]`.
            prompt: list of token ids.
            length: int, tokens that the cache holds, prompt included.

        Returns:
            logits of the first token `[batch, vocabulary_size]`, the sources
            and the caches: lists, by block, of keys and values.
        """
        batch = ops.shape(encoded)[0]
        tokens = ops.broadcast_to(
            ops.convert_to_tensor(np.array([prompt]), "int32"),
            (batch, len(prompt)),
        )
        x = self.embed(tokens)
        mask = transformer.causal_mask(len(prompt))
        room = length - len(prompt)
        sources, caches = [], []
        for block in self.blocks:
            source = block.source(encoded)
            x, (key, value) = block(x, source, mask)
            sources.append(source)
            caches.append(
                (
                    ops.pad(key, ((0, 0), (0, 0), (0, 0), (0, room))),
                    ops.pad(value, ((0, 0), (0, 0), (0, room), (0, 0))),
                )
            )
        return self.logits(self.norm(x)[:, -1]), sources, caches

    def step(self, tokens, position, sources, caches):
        """One more token of every row.

        Args:
            tokens: `[batch * beams]` int32.
            position: int scalar, of the token, prompt included.
            sources: as `start` returns them.
            caches: as `start` or `step` return them.

        Returns:
            logits `[batch * beams, vocabulary_size]` and the caches.
        """
        x = self.embed(tokens[:, None], position)
        mask = ops.arange(caches[0][0].shape[-1]) <= position
        after = []
        for block, source, cache in zip(
            self.blocks, sources, caches, strict=True
        ):
            x, cache = block(x, source, mask, cache, position=position)
            after.append(cache)
        return self.logits(self.norm(x)[:, 0]), after
