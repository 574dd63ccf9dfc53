"""Self-attention with relative positions (Transformer-XL)."""

import math
from typing import Any, TypeAlias

from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.layers import layer, sites

Tensor: TypeAlias = tensor_types.Tensor

# The logit of a padded key. Its exponential is exactly 0 in float32, and a row
# of padded keys alone still has a finite softmax.
MASKED_LOGIT = -1e9


def relative_positions(time: Any, model_dim: int) -> Tensor:
    """Sinusoids of the distances `time - 1` down to `-(time - 1)`.

    Returns:
        `[2 * time - 1, model_dim]` float32: sines, then cosines.
    """
    distances = ops.arange(time - 1, -time, -1, dtype="float32")
    rates = ops.exp(
        ops.arange(0, model_dim, 2, dtype="float32")
        * (-math.log(10000.0) / model_dim)
    )
    angles = distances[:, None] * rates[None, :]
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def relative_shift(logits: Tensor) -> Tensor:
    """Turns logits by distance into logits by key (Dai et al. 2019, app. B).

    Args:
        logits: `[batch, heads, time, 2 * time - 1]`, the last axis in the
            order of `relative_positions`.

    Returns:
        `[batch, heads, time, time]`, where entry (i, j) is of distance i - j.
    """
    _, heads, time, distances = ops.shape(logits)
    x = ops.pad(logits, ((0, 0), (0, 0), (0, 0), (1, 0)))
    x = ops.reshape(x, (-1, heads, distances + 1, time))[:, :, 1:]
    return ops.reshape(x, (-1, heads, time, distances))[:, :, :, :time]


class RelativeAttention(layer.Layer):
    """Layer norm and multi-head self-attention over the valid frames.

    A logit is `(q + u) k + (q + v) r` (Dai et al. 2019, arXiv 1901.02860,
    section 3.3): content and distance, each with a learned bias per head.

    Args:
        dropout_rate: of the weights and of the output, in training.

    Call arguments:
        x: `[batch, time, model_dim]`; the output, without the residual, has
            its shape.
        paddings: `[batch, time]`; padded frames are not attended to.
        functions: those of `query`, `key`, `value` and `output`.

    Raises:
        ValueError: `model_dim` is odd or no multiple of `num_heads`.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if model_dim % num_heads or model_dim % 2:
            raise ValueError(
                "`model_dim` must be even and a multiple of `num_heads`. "
                f"Received: model_dim={model_dim}, num_heads={num_heads}."
            )
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.head_dim = model_dim // num_heads
        self.norm = self._norm("norm")
        # One product for all three, which reads the activations once.
        self.query_key_value = self._dense(3 * model_dim, "query_key_value")
        self.position = self._dense(model_dim, "position", use_bias=False)
        self.output_projection = self._dense(model_dim, "output_projection")
        self.weights_dropout = self._dropout(dropout_rate, "weights_dropout")
        self.output_dropout = self._dropout(dropout_rate, "output_dropout")

    def build(self, x_shape: Any, paddings_shape: Any = None) -> None:
        self.norm.build(x_shape)
        self.query_key_value.build(x_shape)
        self.position.build((None, self.model_dim))
        self.output_projection.build(x_shape)
        bias_shape = (self.num_heads, self.head_dim)
        self.content_bias = self._weight("content_bias", *bias_shape)
        self.position_bias = self._weight("position_bias", *bias_shape)
        self.built = True

    def call(
        self,
        x: Tensor,
        paddings: Tensor,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        # b batch, h head, t query time, s key time, r distance, d head_dim.
        time = ops.shape(x)[1]
        heads = (-1, time, self.num_heads, self.head_dim)
        x = self.norm(x)
        products = ops.split(self.query_key_value(x), 3, axis=-1)
        query, key, value = (
            ops.reshape(functions.apply(name, x, product), heads)
            for name, product in zip(
                ("query", "key", "value"), products, strict=True
            )
        )
        positions = ops.reshape(
            self.position(relative_positions(time, self.model_dim)),
            (2 * time - 1, self.num_heads, self.head_dim),
        )
        content = ops.einsum(
            "bthd,bshd->bhts", query + self._cast(self.content_bias), key
        )
        distance = ops.einsum(
            "bthd,rhd->bhtr", query + self._cast(self.position_bias), positions
        )
        logits = ops.cast(content + relative_shift(distance), "float32")
        mask = paddings_lib.to_mask(paddings)[:, None, None, :]
        logits = ops.where(
            mask, logits / math.sqrt(self.head_dim), MASKED_LOGIT
        )
        weights = self._cast(ops.softmax(logits, axis=-1))
        weights = self.weights_dropout(weights, training=training)
        x = ops.einsum("bhts,bshd->bthd", weights, value)
        x = ops.reshape(x, (-1, time, self.model_dim))
        x = functions.apply("output", x, self.output_projection(x))
        return self.output_dropout(x, training=training)

    def kernel(self, site: str) -> Tensor:
        """The kernel of the projection `query`, `key`, `value` or `output`."""
        if site == "output":
            return self.output_projection.kernel
        index = ("query", "key", "value").index(site)
        joint = self.query_key_value.kernel
        return joint[:, index * self.model_dim : (index + 1) * self.model_dim]

    def _cast(self, x: Tensor) -> Tensor:
        return ops.cast(x, self.compute_dtype)
