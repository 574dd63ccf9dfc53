"""Fits low-rank changes into a larger layout, where they do the same.

Those who bring changes of different ranks, at different sites, can so be served
by one export, and go on learning in one job.
"""

from collections import abc

import numpy as np

from lingvo_like import random_streams
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import lora


def fitted(
    found: submodel_layout.Layout,
    tensors: abc.Mapping[str, np.ndarray],
    layout: submodel_layout.Layout,
    speaker: str,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The tensors of a Submodel of `layout` that is the same function.

    What the layout has beyond that starts as in a new Submodel: it changes
    nothing, and can learn.

    Args:
        found: lora at some sites.
        tensors: of it, by name.
        speaker, seed: of the draws of a start.

    Raises:
        ValueError: a site or a rank is not in the layout.
    """
    result = _start(layout, speaker, seed)
    room = {piece.name: piece for piece in layout.pieces}
    for piece in found.pieces:
        target = room.get(piece.name)
        if target is None:
            raise ValueError(
                f"it has {piece.name}, which a Submodel of "
                f"{layout.describe()} does not have"
            )
        source = _lora(piece)
        kind = _lora(target)
        if source.rank > kind.rank:
            raise ValueError(
                f"its rank at {piece.site.name} must be at most {kind.rank}. "
                f"Received: {source.rank}."
            )
        down, up = (
            f"{piece.name}/{name}" for name in ("down_kernel", "up_kernel")
        )
        factor = (source.alpha / source.rank) / (kind.alpha / kind.rank)
        result[down][:, : source.rank] = tensors[down]
        result[up][: source.rank] = np.float32(factor) * tensors[up]
    return result


def _lora(piece: submodel_layout.Piece) -> lora.Lora:
    if not isinstance(piece.kind, lora.Lora):
        raise ValueError(f"{piece.name} is no low-rank change")
    return piece.kind


def _start(layout, speaker, seed):
    deviations = layout.initial_deviations
    result = {}
    for name, shape in layout.shapes.items():
        value = result[name] = np.zeros(shape, np.float32)
        if name in deviations:
            stream = random_streams.generator("initial", seed, speaker, name)
            stream.standard_normal(out=value, dtype=np.float32)
            value *= np.float32(deviations[name])
    return result
