"""Residual bottleneck adapters: shapes, starting values and algebra.

Houlsby et al. 2019 (arXiv 1902.00751) gives the bottleneck; Biadsy et al. 2022
(arXiv 2203.12559) gives each speaker its own.

Einsum letters: s speaker, d model_dim, k bottleneck_dim.
"""

import dataclasses
import functools
import math
from typing import TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import normalization

Tensor: TypeAlias = tensor_types.Tensor


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An adapter after one encoder block; its weights come with the call.

    `y = x + residual_weight * (relu(norm(x) down + down_bias) up + up_bias)`,
    where each speaker has its own layer norm, projections and biases. The gain
    of the norm is stored as its offset from one, so zeros are the identity.

    Raises:
        ValueError: a width is not positive.
    """

    model_dim: int
    bottleneck_dim: int
    residual_weight: float = 1.0
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("model_dim", "bottleneck_dim"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(
                    f"`{name}` must be positive. Received: {value}."
                )

    @functools.cached_property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one speaker's weights, in the order they are packed."""
        return {
            "norm_scale": (self.model_dim,),
            "norm_bias": (self.model_dim,),
            "down_kernel": (self.model_dim, self.bottleneck_dim),
            "down_bias": (self.bottleneck_dim,),
            "up_kernel": (self.bottleneck_dim, self.model_dim),
            "up_bias": (self.model_dim,),
        }

    @property
    def initial_deviations(self) -> dict[str, float]:
        """Standard deviations of the weights that start as normal draws.

        All other weights start at zero, so a new adapter is the identity. The
        scale is that of He et al. 2015 (arXiv 1502.01852) for ReLU.
        """
        return {"down_kernel": math.sqrt(2.0 / self.model_dim)}

    def is_identity(self, weights: tensor_types.TensorsByName) -> bool:
        """Whether an adapter with these weights changes nothing."""
        return not np.any(weights["up_kernel"]) and not np.any(
            weights["up_bias"]
        )

    def apply(
        self,
        x: Tensor,
        weights: tensor_types.TensorsByName,
        dropout_mask: Tensor | None = None,
    ) -> Tensor:
        """Applies each speaker's adapter to that speaker's activations.

        Everything is computed in the type of the weights, whatever the base
        model computes in. The result has that type and the shape of `x`.

        Args:
            x: `[speakers, rows, model_dim]`, all frames of a speaker.
            weights: `[speakers, ...]`, by the names of `weight_shapes`.
            dropout_mask: `[speakers, rows, bottleneck_dim]`, by which the
                bottleneck is multiplied. The caller draws it, since the random
                stream belongs to the speaker.
        """
        down_kernel = weights["down_kernel"]
        x = ops.cast(x, down_kernel.dtype)
        branch = ops.cast(
            normalization.standardize(x, self.epsilon), down_kernel.dtype
        )
        # The norm's gain and bias act on the down projection, which is a
        # thousand times smaller than the activations.
        kernel = (1.0 + weights["norm_scale"])[:, :, None] * down_kernel
        bias = weights["down_bias"] + ops.einsum(
            "sd,sdk->sk", weights["norm_bias"], down_kernel
        )
        branch = ops.relu(ops.matmul(branch, kernel) + bias[:, None, :])
        if dropout_mask is not None:
            branch = branch * ops.cast(dropout_mask, branch.dtype)
        up_kernel, up_bias = weights["up_kernel"], weights["up_bias"]
        if self.residual_weight != 1.0:
            up_kernel = self.residual_weight * up_kernel
            up_bias = self.residual_weight * up_bias
        return x + (ops.matmul(branch, up_kernel) + up_bias[:, None, :])
