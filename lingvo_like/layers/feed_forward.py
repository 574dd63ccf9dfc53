"""The feed-forward module of a Conformer block."""

from typing import Any, TypeAlias

import keras
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.layers import normalization

Tensor: TypeAlias = tensor_types.Tensor


class FeedForward(keras.layers.Layer):
    """Layer norm, expansion, swish, projection (Gulati et al. 2020, 2.3).

    The block adds the half step and the residual.

    Args:
        expansion: inner width, divided by `model_dim`.
        dropout_rate: after each product, in training.

    Call arguments:
        x: `[batch, time, model_dim]`.

    Returns:
        `[batch, time, model_dim]`.
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
        self.norm = normalization.LayerNorm(
            dtype=self.dtype_policy, name="norm"
        )
        self.expand = keras.layers.Dense(
            model_dim * expansion, dtype=self.dtype_policy, name="expand"
        )
        self.project = keras.layers.Dense(
            model_dim, dtype=self.dtype_policy, name="project"
        )
        self.inner_dropout = keras.layers.Dropout(
            dropout_rate, dtype=self.dtype_policy, name="inner_dropout"
        )
        self.outer_dropout = keras.layers.Dropout(
            dropout_rate, dtype=self.dtype_policy, name="outer_dropout"
        )

    def build(self, x_shape: Any) -> None:
        self.norm.build(x_shape)
        self.expand.build(x_shape)
        self.project.build((*x_shape[:-1], self.model_dim * self.expansion))
        self.built = True

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        x = ops.silu(self.expand(self.norm(x)))
        x = self.project(self.inner_dropout(x, training=training))
        return self.outer_dropout(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "model_dim": self.model_dim,
            "expansion": self.expansion,
            "dropout_rate": self.dropout_rate,
        }
