"""The feed-forward module of a Conformer block."""

from typing import Any, TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import layer, sites

Tensor: TypeAlias = tensor_types.Tensor


class FeedForward(layer.Layer):
    """Layer norm, expansion, swish, projection (Gulati et al. 2020, 2.3).

    The block adds the half step and the residual.

    Args:
        expansion: inner width, divided by `model_dim`.
        dropout_rate: after each product, in training.

    Call arguments:
        x: `[batch, time, model_dim]`; the output has its shape.
        functions: those of `expand`, `inner` and `contract`.
    """

    def __init__(
        self,
        model_dim: int,
        expansion: int = 4,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_dim = model_dim
        self.expansion = expansion
        self.dropout_rate = dropout_rate
        self.norm = self._norm("norm")
        self.expand = self._dense(model_dim * expansion, "expand")
        self.project = self._dense(model_dim, "project")
        self.inner_dropout = self._dropout(dropout_rate, "inner_dropout")
        self.outer_dropout = self._dropout(dropout_rate, "outer_dropout")

    def build(self, x_shape: Any) -> None:
        self.norm.build(x_shape)
        self.expand.build(x_shape)
        self.project.build((*x_shape[:-1], self.model_dim * self.expansion))
        self.built = True

    def call(
        self,
        x: Tensor,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        x = self.norm(x)
        x = ops.silu(functions.apply("expand", x, self.expand(x)))
        x = functions.apply("inner", x, x)
        x = self.inner_dropout(x, training=training)
        x = functions.apply("contract", x, self.project(x))
        return self.outer_dropout(x, training=training)

    def kernel(self, site: str) -> Tensor:
        """The kernel of the projection `expand` or `contract`."""
        layers = {"expand": self.expand, "contract": self.project}
        return layers[site].kernel
