"""The base class of this project's layers, and the names of their weights."""

import inspect
from collections import abc
from typing import Any

import keras

from lingvo_like.layers import normalization


class Layer(keras.layers.Layer):
    """A layer that keeps each argument of its constructor as an attribute.

    Its configuration is made of those. The inner layers that it makes have its
    own dtype policy.
    """

    def get_config(self) -> dict[str, Any]:
        parameters = inspect.signature(self.__init__).parameters
        own = {n: getattr(self, n) for n in parameters if n != "kwargs"}
        return {**super().get_config(), **own}

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: "
                    f"{getattr(self, name)}."
                )

    def _weight(self, name: str, *shape: int) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros")

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


def named_weights(
    layer: keras.layers.Layer, sublayers: abc.Sequence[keras.layers.Layer]
) -> dict[str, keras.Variable]:
    """A built layer's weights, by `name` or `sublayer/name`.

    The names do not depend on where the layer was built.
    """
    inner = {id(weight) for sub in sublayers for weight in sub.weights}
    named = {w.name: w for w in layer.weights if id(w) not in inner}
    for sub in sublayers:
        deeper = getattr(sub, "sublayers", ())
        for name, weight in named_weights(sub, deeper).items():
            named[f"{sub.name}/{name}"] = weight
    return named
