"""Multi-head attention: two batched products around a float32 softmax.

Queries and values are `[batch, heads, time, head_dim]` and keys
`[batch, heads, head_dim, time]`, so that no product transposes again.
"""

from typing import TypeAlias

from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor

# The score of a masked key. Not the smallest float, because a row that is
# masked everywhere must stay finite.
MASKED = -1e9


def split_heads(x: Tensor, num_heads: int, transposed: bool = False) -> Tensor:
    """`[batch, time, dim]` to `[batch, heads, time, head_dim]`.

    `transposed` exchanges the last two axes of the result.
    """
    batch, time, dim = ops.shape(x)
    x = ops.reshape(x, (batch, time, num_heads, dim // num_heads))
    return ops.transpose(x, (0, 2, 3, 1) if transposed else (0, 2, 1, 3))


def merge_heads(x: Tensor) -> Tensor:
    """`[batch, heads, time, head_dim]` to `[batch, time, dim]`."""
    batch, heads, time, head_dim = ops.shape(x)
    return ops.reshape(
        ops.transpose(x, (0, 2, 1, 3)), (batch, time, heads * head_dim)
    )


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    Args:
        query: `[batch, heads, time, head_dim]`.
        key: `[batch, heads, head_dim, source_time]`.
        value: `[batch, heads, source_time, head_dim]`.
        mask: boolean, broadcast to `[batch, heads, time, source_time]`; True
            where attention is allowed; None allows it everywhere.

    Returns:
        `[batch, heads, time, head_dim]`.
    """
    scale = query.shape[-1] ** -0.5
    scores = ops.cast(ops.matmul(query * scale, key), "float32")
    if mask is not None:
        scores = ops.where(mask, scores, MASKED)
    weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
    return ops.matmul(weights, value)


def causal_mask(time: int) -> Tensor:
    """Boolean `[time, time]`, True where a query may see a key."""
    positions = ops.arange(time)
    return positions[:, None] >= positions[None, :]
