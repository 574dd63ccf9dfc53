"""The base class of this project's layers."""

import inspect
from typing import Any

import keras

from lingvo_like.layers import normalization


class Layer(keras.layers.Layer):
    """A layer that keeps each argument of its constructor as an attribute.

    Its configuration is made of those. The inner layers that it makes have its
    own dtype policy.
    """

    def get_config(self) -> dict[str, Any]:
        own = {
            name: getattr(self, name)
            for name, parameter in inspect.signature(
                self.__init__
            ).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        return {**super().get_config(), **own}

    def _dense(
        self, units: int, name: str, use_bias: bool = True
    ) -> keras.layers.Dense:
        return keras.layers.Dense(
            units, use_bias=use_bias, dtype=self.dtype_policy, name=name
        )

    def _dropout(self, rate: float, name: str) -> keras.layers.Dropout:
        return keras.layers.Dropout(rate, dtype=self.dtype_policy, name=name)

    def _norm(self, name: str) -> normalization.LayerNorm:
        return normalization.LayerNorm(dtype=self.dtype_policy, name=name)
