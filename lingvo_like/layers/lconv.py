"""The convolution module of a Conformer block."""

from typing import Any, TypeAlias

import keras
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.layers import layer, sites

Tensor: TypeAlias = tensor_types.Tensor


class LightConv(layer.Layer):
    """Pointwise, GLU, depthwise, norm, swish, pointwise (Gulati et al. 2020).

    Where the paper has a batch norm, a layer norm follows the depthwise
    convolution. A batch norm would let the rows of a batch, and so the
    speakers, see each other in training, and would carry the statistics of
    typical speech into the frozen model that atypical speakers use.

    The depthwise convolution sees `(kernel_size - 1) // 2` frames to the left
    and `kernel_size // 2` to the right, so that an even kernel (the paper's
    32) is centred half a frame late. Padded frames are zeroed before it.

    Args:
        kernel_size: frames that the depthwise convolution spans.
        dropout_rate: of the output, in training.

    Call arguments:
        x: `[batch, time, model_dim]`; the output, without the residual, has
            its shape.
        paddings: `[batch, time]`.
        functions: those of `expand` and `contract`.
    """

    def __init__(
        self,
        model_dim: int,
        kernel_size: int = 32,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_dim = model_dim
        self.kernel_size = kernel_size
        self.dropout_rate = dropout_rate
        self.norm = self._norm("norm")
        # Gate and value in one product; `glu` splits them.
        self.expand = self._dense(2 * model_dim, "expand")
        self.depthwise = keras.layers.DepthwiseConv1D(
            kernel_size,
            padding="valid",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="depthwise",
        )
        self.depthwise_norm = self._norm("depthwise_norm")
        self.project = self._dense(model_dim, "project")
        self.dropout = self._dropout(dropout_rate, "dropout")

    def build(self, x_shape: Any, paddings_shape: Any = None) -> None:
        self.norm.build(x_shape)
        self.expand.build(x_shape)
        self.depthwise.build(x_shape)
        self.depthwise_norm.build(x_shape)
        self.project.build(x_shape)
        self.built = True

    def call(
        self,
        x: Tensor,
        paddings: Tensor,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        x = self.norm(x)
        x = ops.glu(functions.apply("expand", x, self.expand(x)), axis=-1)
        x = paddings_lib.zero_padded(x, paddings)
        left, right = (self.kernel_size - 1) // 2, self.kernel_size // 2
        x = self.depthwise(ops.pad(x, ((0, 0), (left, right), (0, 0))))
        x = ops.silu(self.depthwise_norm(x))
        x = functions.apply("contract", x, self.project(x))
        return self.dropout(x, training=training)

    def kernel(self, site: str) -> Tensor:
        """The kernel of the projection `expand` or `contract`."""
        layers = {"expand": self.expand, "contract": self.project}
        return layers[site].kernel
