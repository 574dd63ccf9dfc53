"""Layouts for tests."""

from collections import abc

from lingvo_like.base_models import base_model
from lingvo_like.layers import sites
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import adapter


def adapters(
    model_dim: int,
    bottleneck_dim: int,
    blocks: abc.Iterable[int],
    residual_weight: float = 1.0,
) -> submodel_layout.Layout:
    """Adapters after encoder blocks."""
    kind = adapter.Adapter(bottleneck_dim, residual_weight)
    found = tuple(
        sites.activation(
            f"{base_model.block_name(base_model.ENCODER, block)}/output",
            model_dim,
        )
        for block in blocks
    )
    return submodel_layout.Layout((submodel_layout.Part(kind, found),))


def tensor_name(block: int, name: str) -> str:
    """The name of a tensor of `adapters`."""
    return f"encoder/block_{block:02d}/output/adapter/{name}"
