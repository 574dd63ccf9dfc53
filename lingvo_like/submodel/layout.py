"""The layout of a Submodel: which tensors it has, and their packed order."""

import dataclasses
import functools
import itertools
import math
import operator
import types
from collections import abc
from typing import TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.submodel.kinds import adapter

Tensor: TypeAlias = tensor_types.Tensor


def tensor_name(block: int, name: str) -> str:
    """The name of a block's tensor, such as `block_02/down_kernel`."""
    return f"block_{block:02d}/{name}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The kind and the sites of a Submodel: adapters after encoder blocks.

    Raises:
        ValueError: a width is not positive, or `blocks` are not block indices
            in ascending order.
    """

    model_dim: int
    bottleneck_dim: int
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("model_dim", "bottleneck_dim"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        blocks = tuple(operator.index(block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        ascending = all(a < b for a, b in itertools.pairwise(blocks))
        if not blocks or blocks[0] < 0 or not ascending:
            raise ValueError(
                "`blocks` must be at least one block index, ascending. "
                f"Received: {blocks}."
            )
        _ = self.kind

    @functools.cached_property
    def kind(self) -> adapter.Adapter:
        """The kind at every site."""
        return adapter.Adapter(self.model_dim, self.bottleneck_dim)

    @functools.cached_property
    def shapes(self) -> abc.Mapping[str, tuple[int, ...]]:
        """Shape of each tensor by name, in the packed order."""
        return types.MappingProxyType(
            {
                tensor_name(block, name): shape
                for block in self.blocks
                for name, shape in self.kind.weight_shapes.items()
            }
        )

    @property
    def initial_deviations(self) -> dict[str, float]:
        """Standard deviations of the tensors that start as normal draws."""
        return {
            tensor_name(block, name): deviation
            for block in self.blocks
            for name, deviation in self.kind.initial_deviations.items()
        }

    @functools.cached_property
    def num_values(self) -> int:
        """Length of the packed vector."""
        return sum(map(math.prod, self.shapes.values()))

    def weights_at(
        self, block: int, tensors: tensor_types.TensorsByName
    ) -> dict[str, Tensor]:
        """The tensors of one site, by the names that the kind gives them."""
        return {
            name: tensors[tensor_name(block, name)]
            for name in self.kind.weight_shapes
        }

    def is_identity(self, tensors: tensor_types.TensorsByName) -> bool:
        """Whether a Submodel with these tensors is the base model."""
        return all(
            self.kind.is_identity(self.weights_at(block, tensors))
            for block in self.blocks
        )

    def unpack(self, vectors: Tensor) -> dict[str, Tensor]:
        """Splits packed Submodels into tensors by name, exactly.

        Args:
            vectors: `[num_values]` or `[batch, num_values]` float32; an array,
                or a tensor of a graph.

        Raises:
            ValueError: the vectors have another length or dtype.
        """
        if vectors.shape[-1] != self.num_values or vectors.dtype != np.float32:
            raise ValueError(
                f"a packed Submodel must be [{self.num_values}] float32. "
                f"Received: {list(vectors.shape)} {vectors.dtype}."
            )
        reshape = np.reshape if isinstance(vectors, np.ndarray) else ops.reshape
        batch = (-1,) * (len(vectors.shape) - 1)
        tensors, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            tensors[name] = reshape(vectors[..., start:stop], (*batch, *shape))
            start = stop
        return tensors
