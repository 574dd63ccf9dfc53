"""Low-rank changes of projections (Hu et al. 2021, arXiv 2106.09685)."""

import dataclasses
import math
from typing import ClassVar, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor


@dataclasses.dataclass(frozen=True)
class Lora(kind.Plain):
    """`y + alpha / rank * (x down) up` beside a projection.

    Dropout leaves out elements of `x down`.

    Raises:
        ValueError: the rank is not positive, or alpha is zero.
    """

    name: ClassVar[str] = "lora"

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        kind.check_positive(self, "rank")
        if not self.alpha or not math.isfinite(self.alpha):
            raise ValueError(
                f"`alpha` must be finite, and not zero. Received: {self.alpha}."
            )

    @property
    def dropout_width(self) -> int:
        return self.rank

    def check(self, site: sites.Site) -> None:
        kind.check_projection(self, site)

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        return {
            "down_kernel": (site.input_dim, self.rank),
            "up_kernel": (self.rank, site.output_dim),
        }

    def initial_deviations(self, site: sites.Site) -> dict[str, float]:
        """The variance is that of the paper's implementation, and of PEFT's."""
        return {"down_kernel": math.sqrt(1.0 / (3.0 * site.input_dim))}

    def is_identity(self, weights: tensor_types.TensorsByName) -> bool:
        # Adapters that come from elsewhere may have zeros on either side.
        down = np.any(weights["down_kernel"], axis=0)
        up = np.any(weights["up_kernel"], axis=1)
        return not np.any(down & up)

    def prepare(
        self,
        weights: tensor_types.TensorsByName,
        constants: tensor_types.TensorsByName,
    ) -> tensor_types.TensorsByName:
        return {
            "down_kernel": weights["down_kernel"],
            "up_kernel": (self.alpha / self.rank) * weights["up_kernel"],
        }

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        down_kernel = prepared["down_kernel"]
        inner = ops.matmul(ops.cast(x, down_kernel.dtype), down_kernel)
        if dropout is not None:
            inner = dropout(inner)
        change = ops.matmul(inner, prepared["up_kernel"])
        return ops.cast(y, change.dtype) + change
