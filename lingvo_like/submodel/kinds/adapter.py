"""Residual bottleneck adapters.

Houlsby et al. 2019 (arXiv 1902.00751) gives the bottleneck; Biadsy et al. 2022
(arXiv 2203.12559) gives each speaker its own.

Einsum letters: s speaker, d width of the activation, k bottleneck_dim.
"""

import dataclasses
import math
from typing import ClassVar, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import normalization, sites
from lingvo_like.submodel.kinds import kind

Tensor: TypeAlias = tensor_types.Tensor


@dataclasses.dataclass(frozen=True)
class Adapter(kind.Plain):
    """A bottleneck beside an activation, such as the output of a block.

    `y + residual_weight * (relu(norm(y) down + down_bias) up + up_bias)`,
    where each speaker has its own layer norm, projections and biases. The gain
    of the norm is stored as its offset from one, so zeros are the identity.

    Raises:
        ValueError: a width is not positive.
    """

    name: ClassVar[str] = "adapter"

    bottleneck_dim: int
    residual_weight: float = 1.0
    epsilon: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        kind.check_positive(self, "bottleneck_dim")

    @property
    def dropout_width(self) -> int:
        return self.bottleneck_dim

    def check(self, site: sites.Site) -> None:
        kind.check_activation(self, site)

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        dim = site.output_dim
        return {
            "norm_scale": (dim,),
            "norm_bias": (dim,),
            "down_kernel": (dim, self.bottleneck_dim),
            "down_bias": (self.bottleneck_dim,),
            "up_kernel": (self.bottleneck_dim, dim),
            "up_bias": (dim,),
        }

    def initial_deviations(self, site: sites.Site) -> dict[str, float]:
        """The scale is that of He et al. 2015 (arXiv 1502.01852) for ReLU."""
        return {"down_kernel": math.sqrt(2.0 / site.output_dim)}

    def is_identity(self, weights: tensor_types.TensorsByName) -> bool:
        return not np.any(weights["up_kernel"]) and not np.any(
            weights["up_bias"]
        )

    def prepare(
        self,
        weights: tensor_types.TensorsByName,
        constants: tensor_types.TensorsByName,
    ) -> tensor_types.TensorsByName:
        """Joins the norm's gain and bias with the down projection.

        That is a thousand times smaller than the activations.
        """
        down_kernel = weights["down_kernel"]
        up_kernel, up_bias = weights["up_kernel"], weights["up_bias"]
        if self.residual_weight != 1.0:
            up_kernel = self.residual_weight * up_kernel
            up_bias = self.residual_weight * up_bias
        return {
            "down_kernel": (1.0 + weights["norm_scale"])[:, :, None]
            * down_kernel,
            "down_bias": weights["down_bias"]
            + ops.einsum("sd,sdk->sk", weights["norm_bias"], down_kernel),
            "up_kernel": up_kernel,
            "up_bias": up_bias,
        }

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: kind.Dropout | None = None,
    ) -> Tensor:
        del x
        down_kernel = prepared["down_kernel"]
        y = ops.cast(y, down_kernel.dtype)
        branch = ops.cast(
            normalization.standardize(y, self.epsilon), down_kernel.dtype
        )
        bias = prepared["down_bias"][:, None, :]
        branch = ops.relu(ops.matmul(branch, down_kernel) + bias)
        if dropout is not None:
            branch = dropout(branch)
        up = ops.matmul(branch, prepared["up_kernel"])
        return y + (up + prepared["up_bias"][:, None, :])
