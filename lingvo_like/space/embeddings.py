"""What embeddings do: they are normalised, and mix the elements of a basis.

Einsum letters: s speaker, e element.
"""

import tensorflow as tf
from keras import ops

NORMALIZATIONS = ("none", "softmax", "unit")
# The squared length below which "unit" leaves an embedding as it is.
_EPSILON = 1e-12


def normalize(embeddings, normalization):
    """What embeddings mix the basis by.

    Args:
        embeddings: `[..., embedding_dim]` float32, as learned and kept.
        normalization: "none"; "softmax", weights that add up to one; "unit",
            length one (zero stays zero).

    Returns:
        the same shape.
    """
    check_normalization(normalization)
    if normalization == "softmax":
        return ops.softmax(embeddings, axis=-1)
    if normalization == "unit":
        squares = ops.sum(ops.square(embeddings), axis=-1, keepdims=True)
        return embeddings * ops.rsqrt(ops.maximum(squares, _EPSILON))
    return ops.convert_to_tensor(embeddings)


def check_normalization(normalization):
    """Raises a ValueError unless it is one of `NORMALIZATIONS`."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
            f"Received: {normalization!r}."
        )


@tf.custom_gradient
def mix(weights, elements):
    """One tensor of each speaker's Submodel.

    A speaker whose gradient is not finite gives none to the elements, which
    are everybody's; it keeps it in its own weights, where it is noticed.

    Args:
        weights: `[s, e]` float32, normalised embeddings.
        elements: `[e, ...]` float32.

    Returns:
        `[s, ...]` float32.
    """

    def gradient(upstream):
        speakers = tf.shape(upstream)[0]
        flat = tf.reshape(upstream, [speakers, -1])
        finite = tf.reduce_all(tf.math.is_finite(flat), axis=1, keepdims=True)
        to_elements = tf.matmul(
            tf.where(finite, weights, 0.0),
            tf.where(finite, flat, 0.0),
            transpose_a=True,
        )
        return (
            tf.matmul(flat, _flat(elements), transpose_b=True),
            tf.reshape(to_elements, tf.shape(elements)),
        )

    mixed = tf.matmul(weights, _flat(elements))
    shape = tf.concat([tf.shape(weights)[:1], tf.shape(elements)[1:]], axis=0)
    mixed = tf.reshape(mixed, shape)
    mixed.set_shape([weights.shape[0], *elements.shape[1:]])
    return mixed, gradient


def _flat(elements):
    return tf.reshape(elements, [tf.shape(elements)[0], -1])
