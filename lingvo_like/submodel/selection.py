"""Selects the weights of a batch's speakers from stacked Submodels.

Training, evaluation and exported models all select here, for every kind of
Submodel.

Einsum letters: s speaker, e slot or element of a basis.
"""

from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor


def select(
    stacked: tensor_types.TensorsByName, selector: Tensor
) -> dict[str, Tensor]:
    """Returns each speaker's weights `[speakers, ...]`.

    Args:
        stacked: tensors or variables `[rows, ...]` by name.
        selector: row indices `[speakers]` int32, gathered once per speaker; or
            embeddings `[speakers, rows]` float32, which mix the rows.

    Raises:
        ValueError: an embedding has another width, or a row index whose value
            is known is out of range. XLA would clamp the index, which would
            serve a stranger's Submodel.
    """
    num_rows = next(iter(stacked.values())).shape[0]
    if not hasattr(selector, "shape"):
        selector = np.asarray(selector)
    if len(selector.shape) == 2:
        if selector.shape[1] != num_rows:
            raise ValueError(
                f"embeddings must be [speakers, {num_rows}]. "
                f"Received: {tuple(selector.shape)}."
            )
        return {name: _mix(selector, rows) for name, rows in stacked.items()}
    check_row_indices(selector, num_rows)
    return {name: _gather(rows, selector) for name, rows in stacked.items()}


def check_row_indices(row_indices: Tensor, num_rows: int | None) -> None:
    """Refuses row indices that are out of range, where they are known.

    Values inside a graph are not known here; whoever feeds the graph gets its
    indices from `SlotRows.row_index`, which checks.
    """
    if num_rows is None:
        return
    try:
        values = np.asarray(row_indices)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        return
    if values.size and (values.min() < 0 or values.max() >= num_rows):
        raise ValueError(
            f"row indices must be in [0, {num_rows}). "
            f"Received: {values.tolist()}."
        )


def _gather(rows: Tensor, row_indices: Tensor) -> Tensor:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # `ops.take` copies a whole variable before it gathers.
        return tf.gather(rows, row_indices)
    return ops.take(rows, row_indices, axis=0)


@ops.custom_gradient
def _mix(embeddings: Tensor, elements: Tensor) -> Tensor:
    """Returns `sum_e embeddings[s, e] elements[e]` for each speaker s.

    A speaker whose gradient is not finite gives none to the elements, which
    all speakers share. It keeps it in its own embedding, where it is noticed.
    """
    flat_elements = ops.reshape(elements, (elements.shape[0], -1))

    def gradient(
        *args: Tensor, upstream: Tensor = None
    ) -> tuple[Tensor, Tensor]:
        if upstream is None:
            (upstream,) = args
        flat = ops.reshape(upstream, (-1, flat_elements.shape[1]))
        finite = ops.all(ops.isfinite(flat), axis=1, keepdims=True)
        to_elements = ops.matmul(
            ops.transpose(ops.where(finite, embeddings, 0.0)),
            ops.where(finite, flat, 0.0),
        )
        return (
            ops.matmul(flat, ops.transpose(flat_elements)),
            ops.reshape(to_elements, elements.shape),
        )

    mixed = ops.matmul(embeddings, flat_elements)
    return ops.reshape(mixed, (-1, *elements.shape[1:])), gradient
