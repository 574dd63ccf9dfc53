"""Scales of one's own: LHUC (Swietojanski and Renals 2014) and IA3 (Liu et al.
2022, arXiv 2205.05638), without a bound on the scale.
"""

import dataclasses
from typing import ClassVar, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor


@dataclasses.dataclass(frozen=True)
class Scale(kind.Plain):
    """`y * (1 + scale)`, at any site.

    At keys, values and the inner activation of a feed-forward network it is
    IA3.
    """

    name: ClassVar[str] = "scale"

    def check(self, site: sites.Site) -> None:
        """Every site has an output."""

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        return {"scale": (site.output_dim,)}

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        scale = prepared["scale"]
        return ops.cast(y, scale.dtype) * (1.0 + scale[:, None, :])
