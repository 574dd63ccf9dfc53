"""Biases of one's own (Ben Zaken et al. 2021, arXiv 2106.10199)."""

import dataclasses
from typing import ClassVar, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor


@dataclasses.dataclass(frozen=True)
class Bias(kind.Plain):
    """`y + bias`, at any site."""

    name: ClassVar[str] = "bias"

    def check(self, site: sites.Site) -> None:
        """Every site has an output."""

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        return {"bias": (site.output_dim,)}

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        bias = prepared["bias"]
        return ops.cast(y, bias.dtype) + bias[:, None, :]
