"""Attention to a source whose keys and values are never computed.

A score is the product of a query and a key, and a key is a product too: `q @
(x @ K) = (q @ K') @ x`, with K' the transposed kernel. So a query can be
carried to the source instead, and what it attends to be projected afterwards
(as DeepSeek-V2 does, arXiv 2405.04434, 2.1.2). For a few queries that is much
less work than keys and values of a long source, and all blocks and heads read
one copy of it.
"""

import typing
from typing import Any, TypeAlias

from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor


class Unprojected(typing.NamedTuple):
    """A source for one block's attention.

    Attributes:
        keys: the source, `[batch, 1, model_dim, time]`: one head of
            `attention.attend`.
        values: the source, `[batch, 1, time, model_dim]`.
        key_kernel: `[heads, head_dim, model_dim]`, times the square root of
            the number of heads, because `attend` divides by that of the width
            of its queries.
        value_kernel: `[heads, model_dim, head_dim]`.
        value_bias: `[heads, 1, head_dim]`.
    """

    keys: Tensor
    values: Tensor
    key_kernel: Tensor
    value_kernel: Tensor
    value_bias: Tensor

    def to_source(self, query: Tensor) -> Tensor:
        """Queries as wide as the source.

        From `[batch, heads, time, head_dim]` to `[batch, 1, heads * time,
        model_dim]`.
        """
        batch, heads, time, _ = ops.shape(query)
        wide = _by_head(query, self.key_kernel)
        return ops.reshape(wide, (batch, 1, heads * time, wide.shape[-1]))

    def from_source(self, attended: Tensor, heads: int) -> Tensor:
        """Projects, head by head, the part of the source attended to.

        From `[batch, 1, heads * time, model_dim]` to `[batch, heads, time,
        head_dim]`. Weights of attention sum to one, so that the bias of a
        value is that of the result.
        """
        batch, _, rows, dim = ops.shape(attended)
        attended = ops.reshape(attended, (batch, heads, rows // heads, dim))
        return _by_head(attended, self.value_kernel) + self.value_bias


def shared(encoded: Tensor) -> tuple[Tensor, Tensor]:
    """The `keys` and `values` of all blocks, from `[batch, time, dim]`."""
    return ops.transpose(encoded, (0, 2, 1))[:, None], encoded[:, None]


def kernels(
    kernel: Tensor, value_bias: Tensor, heads: int, dtype: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The kernels and the bias by head.

    Args:
        kernel: `[model_dim, 2 * model_dim]`, of keys and values.
        value_bias: `[model_dim]`.
    """
    dim = kernel.shape[0]
    head_dim = dim // heads
    kernel = ops.cast(ops.convert_to_tensor(kernel), dtype)
    kernel = ops.reshape(kernel, (dim, 2, heads, head_dim))
    bias = ops.cast(ops.convert_to_tensor(value_bias), dtype)
    return (
        ops.transpose(kernel[:, 0], (1, 2, 0)) * heads**0.5,
        ops.transpose(kernel[:, 1], (1, 0, 2)),
        ops.reshape(bias, (heads, 1, head_dim)),
    )


def _by_head(x: Tensor, kernel: Tensor) -> Tensor:
    """`[batch, heads, time, a]` times `[heads, a, b]`.

    One product for each head, with the rows of the whole batch.
    """
    batch, heads, time, width = ops.shape(x)
    x = ops.reshape(
        ops.transpose(x, (1, 0, 2, 3)), (heads, batch * time, width)
    )
    y = ops.reshape(
        ops.matmul(x, kernel), (heads, batch, time, kernel.shape[-1])
    )
    return ops.transpose(y, (1, 0, 2, 3))
