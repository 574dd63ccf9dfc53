"""The normalizations of speaker embeddings."""

from typing import TypeAlias

from keras import ops

from lingvo_like import choices, tensor_types

Tensor: TypeAlias = tensor_types.Tensor

# The squared length below which "unit" leaves an embedding as it is.
_EPSILON = 1e-12


def normalize(embeddings: Tensor, normalization: str) -> Tensor:
    """Learned embeddings `[..., embedding_dim]`, as they mix the basis.

    Args:
        normalization: "none"; "softmax", which gives weights that add up to
            one; or "unit", which gives length one and leaves zero at zero.
    """
    check_normalization(normalization)
    if normalization == "softmax":
        return ops.softmax(embeddings, axis=-1)
    if normalization == "unit":
        squares = ops.sum(ops.square(embeddings), axis=-1, keepdims=True)
        return embeddings * ops.rsqrt(ops.maximum(squares, _EPSILON))
    return ops.convert_to_tensor(embeddings)


def check_normalization(normalization: str) -> None:
    """Raises a ValueError unless it is one of `choices.NORMALIZATIONS`."""
    if normalization not in choices.NORMALIZATIONS:
        raise ValueError(
            "`normalization` must be one of "
            f"{', '.join(choices.NORMALIZATIONS)}. "
            f"Received: {normalization!r}."
        )
