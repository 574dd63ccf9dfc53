"""A vector of one's own at the output of a site: biases and scales."""

import dataclasses
from typing import ClassVar, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor


class _Vector(kind.Plain):
    """One weight, of the kind's name: a vector as wide as the site's output."""

    name: ClassVar[str]

    def check(self, site: sites.Site) -> None:
        """Every site has an output."""

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        return {self.name: (site.output_dim,)}


@dataclasses.dataclass(frozen=True)
class Bias(_Vector):
    """`y + bias`, at any site (Ben Zaken et al. 2021, arXiv 2106.10199)."""

    name: ClassVar[str] = "bias"

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        bias = prepared["bias"]
        return ops.cast(y, bias.dtype) + bias[:, None, :]


@dataclasses.dataclass(frozen=True)
class Scale(_Vector):
    """`y * (1 + scale)`, at any site, without a bound on the scale.

    That is LHUC (Swietojanski and Renals 2014); at keys, values and the inner
    activation of a feed-forward network it is IA3 (Liu et al. 2022, arXiv
    2205.05638).
    """

    name: ClassVar[str] = "scale"

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        scale = prepared["scale"]
        return ops.cast(y, scale.dtype) * (1.0 + scale[:, None, :])
