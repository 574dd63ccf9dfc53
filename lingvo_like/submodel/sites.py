"""Applies Submodels at their sites in a base model.

A site is a place in the base where a Submodel acts. Today each site is the
output of an encoder block and is named by the block's index.
"""

import dataclasses
import functools
from collections import abc
from typing import TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.submodel import layout as submodel_layout

Tensor: TypeAlias = tensor_types.Tensor
SiteFunction = abc.Callable[[Tensor], Tensor]


def site_functions(
    layout: submodel_layout.Layout,
    weights: tensor_types.TensorsByName,
    residual_weight: float = 1.0,
    dropout_masks: abc.Mapping[int, Tensor] | None = None,
) -> dict[int, SiteFunction]:
    """Returns what a base model calls at each site.

    Args:
        weights: `[speakers, ...]` by tensor name, wherever they come from: a
            gather, a mix or a file.
        residual_weight: factor of each adapter's branch.
        dropout_masks: `[speakers, utterances * time, bottleneck_dim]` by site.

    Returns:
        dict of site to a function of activations
        `[speakers * utterances, time, model_dim]`, grouped by speaker.
    """
    kind = dataclasses.replace(layout.kind, residual_weight=residual_weight)
    return {
        site: functools.partial(
            _apply_by_speaker,
            kind,
            layout.weights_at(site, weights),
            None if dropout_masks is None else dropout_masks[site],
        )
        for site in layout.blocks
    }


def _apply_by_speaker(kind, weights, dropout_mask, x) -> Tensor:
    speakers = ops.shape(next(iter(weights.values())))[0]
    grouped = ops.reshape(x, (speakers, -1, kind.model_dim))
    return ops.reshape(kind.apply(grouped, weights, dropout_mask), ops.shape(x))
