"""The normalizations of speaker embeddings."""

from keras import ops

from lingvo_like import tensor_types

NORMALIZATIONS = ("none", "softmax", "unit")
# The squared length below which "unit" leaves an embedding as it is.
_EPSILON = 1e-12


def normalize(
    embeddings: tensor_types.Tensor, normalization: str
) -> tensor_types.Tensor:
    """Embeddings as they mix the basis.

    Args:
        embeddings: `[..., embedding_dim]` float32, as they are learned.
        normalization: "none"; "softmax", which gives weights that add up to
            one; or "unit", which gives length one and leaves zero at zero.

    Returns:
        `[..., embedding_dim]` float32.
    """
    check_normalization(normalization)
    if normalization == "softmax":
        return ops.softmax(embeddings, axis=-1)
    if normalization == "unit":
        squares = ops.sum(ops.square(embeddings), axis=-1, keepdims=True)
        return embeddings * ops.rsqrt(ops.maximum(squares, _EPSILON))
    return ops.convert_to_tensor(embeddings)


def check_normalization(normalization: str) -> None:
    """Raises a ValueError unless it is one of `NORMALIZATIONS`."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
            f"Received: {normalization!r}."
        )
