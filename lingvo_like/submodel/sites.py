"""Applies Submodels at their sites in a base model."""

import functools
from typing import Any, Protocol, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel import layout as submodel_layout

Tensor: TypeAlias = tensor_types.Tensor


class DropoutMasks(Protocol):
    """Draws the masks of dropout in a training step.

    The caller draws them, since a random stream belongs to its speaker.
    """

    def __call__(self, piece: int, shape: tuple[int, int, int]) -> Tensor:
        """The masks of one piece of the layout, `[speakers, *shape]`.

        Args:
            piece: its index in `Layout.pieces`.
            shape: time, utterances of a speaker, and `Kind.dropout_width`. A
                longer time must not change the values of a shorter one.
        """
        ...


def site_functions(
    layout: submodel_layout.Layout,
    weights: tensor_types.TensorsByName,
    constants: submodel_layout.Constants | None = None,
    dropout_masks: DropoutMasks | None = None,
) -> sites.SiteFunctions:
    """The functions that a base model calls at its sites.

    They take activations `[speakers * utterances, time, width]`, grouped by
    speaker.

    Args:
        weights: `[speakers, ...]` by tensor name, wherever they come from: a
            gather, a mix or a file.
        constants: from `Layout.constants`, of this base model; None where no
            kind of the layout needs any.
        dropout_masks: None outside of training.
    """
    functions: dict[str, sites.SiteFunction] = {}
    for index, piece in enumerate(layout.pieces):
        function = functools.partial(
            _apply_by_speaker,
            piece,
            piece.kind.prepare(
                layout.weights_of(piece, weights),
                (constants or {}).get(piece.name, {}),
            ),
            ops.shape(next(iter(weights.values())))[0],
            dropout_masks and functools.partial(dropout_masks, index),
        )
        before = functions.get(piece.site.name)
        functions[piece.site.name] = (
            functools.partial(_in_turn, before, function)
            if before
            else function
        )
    return sites.SiteFunctions(functions)


def _in_turn(first, second, x, y) -> Tensor:
    return second(x, first(x, y))


def _apply_by_speaker(piece, prepared, speakers, draw, x, y) -> Tensor:
    shape = ops.shape(y)
    grouped_x = ops.reshape(x, (speakers, -1, x.shape[-1]))
    grouped_y = ops.reshape(y, (speakers, -1, y.shape[-1]))
    dropout = draw and functools.partial(_drop, draw, y)
    result = piece.kind.apply(grouped_x, grouped_y, prepared, dropout)
    return ops.cast(ops.reshape(result, shape), y.dtype)


def _drop(draw: Any, y: Tensor, inner: Tensor) -> Tensor:
    """`inner` `[speakers, utterances * time, width]`, masked."""
    rows, time = y.shape[0], y.shape[1]
    speakers, _, width = inner.shape
    masks = draw((time, rows // speakers, width))
    masks = ops.reshape(ops.transpose(masks, (0, 2, 1, 3)), inner.shape)
    return inner * ops.cast(masks, inner.dtype)
