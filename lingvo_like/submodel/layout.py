"""Which tensors a Submodel has, their order, and the checks that they fit."""

import dataclasses
import functools
import math
import operator
import types

import numpy as np
from keras import ops

from lingvo_like.layers import adapter


class SubmodelError(ValueError):
    """A Submodel, or a file of one, is not what it has to be."""


def tensor_name(block, field):
    """The name of a block's tensor, such as `block_02/down_kernel`."""
    return f"block_{block:02d}/{field}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which tensors a Submodel has, and their order in its packed vector.

    Args:
        model_dim: int, width of the base's encoder.
        bottleneck_dim: int.
        blocks: tuple of encoder block indices, ascending.
    """

    model_dim: int
    bottleneck_dim: int
    blocks: tuple[int, ...]

    def __post_init__(self):
        for name in ("model_dim", "bottleneck_dim"):
            value = operator.index(getattr(self, name))
            if value < 1:
                raise ValueError(
                    f"`{name}` must be positive. Received: {value}."
                )
            object.__setattr__(self, name, value)
        blocks = tuple(operator.index(block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        ascending = all(a < b for a, b in zip(blocks, blocks[1:], strict=False))
        if not blocks or blocks[0] < 0 or not ascending:
            raise ValueError(
                "`blocks` must be at least one block index, ascending. "
                f"Received: {blocks}."
            )

    @functools.cached_property
    def shapes(self):
        """Mapping of tensor name to shape, in the packed order."""
        shapes = adapter.weight_shapes(self.model_dim, self.bottleneck_dim)
        return types.MappingProxyType(
            {
                tensor_name(block, field): shape
                for block in self.blocks
                for field, shape in shapes._asdict().items()
            }
        )

    @property
    def num_values(self):
        """Length of the packed vector."""
        shapes = adapter.weight_shapes(self.model_dim, self.bottleneck_dim)
        return len(self.blocks) * sum(math.prod(shape) for shape in shapes)

    def pack(self, tensors):
        """Dict of name to array, to one vector `[num_values]` float32.

        Raises:
            SubmodelError: a tensor is missing, not expected, not float32 or
                of another shape.
        """
        check_tensors(self, tensors)
        return np.concatenate([tensors[name].ravel() for name in self.shapes])

    def unpack(self, vector):
        """The inverse of `pack`, exactly."""
        if vector.shape != (self.num_values,) or vector.dtype != np.float32:
            raise SubmodelError(
                f"a packed Submodel must be [{self.num_values}] float32. "
                f"Received: {list(vector.shape)} {vector.dtype}."
            )
        return {
            name: vector[start:stop].reshape(shape)
            for name, start, stop, shape in self._slices()
        }

    def unpack_batch(self, vectors):
        """Packed Submodels `[batch, num_values]`, in a graph.

        Returns:
            dict of block to `adapter.AdapterWeights` of `[batch, ...]`.
        """
        tensors = {
            name: ops.reshape(vectors[:, start:stop], (-1, *shape))
            for name, start, stop, shape in self._slices()
        }
        return {
            block: adapter.AdapterWeights(
                *(
                    tensors[tensor_name(block, field)]
                    for field in adapter.AdapterWeights._fields
                )
            )
            for block in self.blocks
        }

    def _slices(self):
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            yield name, start, stop, shape
            start = stop


def check_names(layout, names):
    """Raises a SubmodelError unless `names` are exactly the layout's."""
    shapes = layout.shapes
    for name in shapes:
        if name not in names:
            raise SubmodelError(f"the tensor {name} is missing")
    for name in names:
        if name not in shapes:
            raise SubmodelError(f"the tensor {name!r} is not expected")


def check_tensors(layout, tensors):
    """Raises a SubmodelError unless these are a Submodel's finite tensors."""
    check_names(layout, tensors)
    for name, shape in layout.shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise SubmodelError(
                f"{name}: the shape must be {list(shape)}. "
                f"Received: {list(tensor.shape)}."
            )
        if tensor.dtype != np.float32:
            raise SubmodelError(
                f"{name}: the dtype must be float32. Received: {tensor.dtype}."
            )
        if not np.isfinite(tensor).all():
            raise SubmodelError(
                f"{name}: {np.sum(~np.isfinite(tensor))} of {tensor.size} "
                "values are not finite"
            )
