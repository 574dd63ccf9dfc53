"""Rotations of a projection's singular directions: SSVD (arXiv 2509.02830).

A kernel is `U diag(values) V'`, with inputs on the side of U. A Submodel turns
the strongest input directions among themselves and changes their gains. What
they mean to the rest of the model, the output directions V, stays.

Einsum letters: s speaker, k rank.
"""

import dataclasses
from collections import abc
from typing import ClassVar, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor
# Beyond it, a rotation is nearly a half turn anyway, and I + A may be singular
# to float32: solving would fail, for the whole batch.
_MAX_ANGLE = 1e3


@dataclasses.dataclass(frozen=True)
class Rotation(kind.Plain):
    """`y + (x U) (R diag(values + offsets) - diag(values)) V'`.

    U and V are the first `rank` singular directions of the projection's kernel.
    R is a rotation, the Cayley transform `(I + A)^-1 (I - A)` of the
    skew-symmetric matrix A whose upper triangle is the speaker's `angles`.

    Dropout leaves out elements of `x U`.

    Raises:
        ValueError: the rank is below 2, which leaves nothing to rotate.
    """

    name: ClassVar[str] = "rotation"

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 2:
            raise ValueError(
                f"`rank` must be at least 2. Received: {self.rank}."
            )

    @property
    def dropout_width(self) -> int:
        return self.rank

    def check(self, site: sites.Site) -> None:
        kind.check_projection(self, site)
        most = min(site.input_dim, site.output_dim)
        if self.rank > most:
            raise ValueError(
                f"rotation at {site.name}: `rank` must be at most {most}. "
                f"Received: {self.rank}."
            )

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        return {
            "angles": (self.rank * (self.rank - 1) // 2,),
            "offsets": (self.rank,),
        }

    def constants(
        self, site: sites.Site, kernel: abc.Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The strongest singular directions and values of the kernel.

        A direction's largest element is positive, so that every machine finds
        the same ones.
        """
        inputs, values, outputs = np.linalg.svd(
            kernel(site.name).astype(np.float64), full_matrices=False
        )
        inputs, outputs = inputs[:, : self.rank], outputs[: self.rank]
        largest = np.argmax(np.abs(inputs), axis=0)
        signs = np.sign(inputs[largest, np.arange(self.rank)])
        return {
            "inputs": (inputs * signs).astype(np.float32),
            "values": values[: self.rank].astype(np.float32),
            "outputs": (outputs * signs[:, None]).astype(np.float32),
        }

    def prepare(
        self,
        weights: tensor_types.TensorsByName,
        constants: tensor_types.TensorsByName,
    ) -> tensor_types.TensorsByName:
        angles, offsets = weights["angles"], weights["offsets"]
        values = ops.cast(constants["values"], offsets.dtype)
        rotated = self._rotations(angles) * (values + offsets)[:, None, :]
        unchanged = ops.cast(np.diag(constants["values"]), offsets.dtype)
        return {
            "inputs": ops.cast(constants["inputs"], offsets.dtype),
            "change": rotated - unchanged,
            "outputs": ops.cast(constants["outputs"], offsets.dtype),
        }

    def _rotations(self, angles: Tensor) -> Tensor:
        """The rotations `[speakers, rank, rank]` of `angles`."""
        rank = self.rank
        above = np.triu_indices(rank, 1)
        # The angle of each element of A; on the diagonal, one that is zero.
        places = np.full((rank, rank), len(above[0]), "int32")
        places[above] = np.arange(len(above[0]))
        places.T[above] = places[above]
        signs = np.sign(np.subtract.outer(-np.arange(rank), -np.arange(rank)))
        # In lower precision no backend solves.
        bounded = ops.clip(ops.cast(angles, "float32"), -_MAX_ANGLE, _MAX_ANGLE)
        padded = ops.pad(bounded, ((0, 0), (0, 1)))
        skew = ops.take(padded, places, axis=1) * ops.cast(signs, "float32")
        one = ops.eye(rank, dtype="float32")
        return ops.cast(ops.solve(one + skew, one - skew), angles.dtype)

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        inner = ops.matmul(
            ops.cast(x, prepared["inputs"].dtype), prepared["inputs"]
        )
        if dropout is not None:
            inner = dropout(inner)
        inner = ops.matmul(inner, prepared["change"])
        change = ops.matmul(inner, prepared["outputs"])
        return ops.cast(y, change.dtype) + change
