"""Residual adapters of many speakers as one layer.

Houlsby et al. 2019 (arXiv 1902.00751) gives the bottleneck, Biadsy et al. 2022
(arXiv 2203.12559) the stack: every tensor has a leading slot axis, and a
selector picks or mixes the rows that a batch needs.

Einsum letters: s speaker, e slot (embedding), d model_dim, k bottleneck_dim.
"""

import collections

import keras
import numpy as np
from keras import ops

from lingvo_like.layers import normalization

# One speaker's tensors of one block, in the order in which they are packed.
# `norm_scale` is the gain's offset from one, so that zeros are the identity.
AdapterWeights = collections.namedtuple(
    "AdapterWeights",
    "norm_scale norm_bias down_kernel down_bias up_kernel up_bias",
)


def weight_shapes(model_dim, bottleneck_dim):
    """The shapes of one slot's tensors, as an `AdapterWeights` of tuples."""
    return AdapterWeights(
        norm_scale=(model_dim,),
        norm_bias=(model_dim,),
        down_kernel=(model_dim, bottleneck_dim),
        down_bias=(bottleneck_dim,),
        up_kernel=(bottleneck_dim, model_dim),
        up_bias=(model_dim,),
    )


# Added to the variance in the layer norm.
EPSILON = 1e-5


def apply_weights(
    x, weights, residual_weight=1.0, epsilon=EPSILON, dropout_mask=None
):
    """The adapters of a batch's speakers: the one place of their algebra.

    Args:
        x: `[speakers, ..., model_dim]`, grouped by speaker.
        weights: `AdapterWeights` of `[speakers, ...]`.
        residual_weight, epsilon: floats, as `StackedAdapter`'s.
        dropout_mask: `[speakers, ..., bottleneck_dim]` or None.

    Returns:
        Same shape and type as `x`.
    """
    shape = ops.shape(x)
    rows = ops.reshape(x, (shape[0], -1, shape[-1]))
    branch = normalization.standardize(rows, epsilon)
    branch = ops.cast(branch, x.dtype)
    weights = AdapterWeights(*(ops.cast(tensor, x.dtype) for tensor in weights))
    # The norm's gain and bias act on the down projection, a thousand
    # times smaller than the activations they would otherwise pass over.
    kernel = (1.0 + weights.norm_scale)[:, :, None] * weights.down_kernel
    bias = weights.down_bias + ops.einsum(
        "sd,sdk->sk", weights.norm_bias, weights.down_kernel
    )
    branch = ops.relu(ops.matmul(branch, kernel) + bias[:, None, :])
    if dropout_mask is not None:
        branch = branch * ops.reshape(
            ops.cast(dropout_mask, x.dtype), ops.shape(branch)
        )
    up_kernel, up_bias = weights.up_kernel, weights.up_bias
    if residual_weight != 1.0:
        up_kernel = residual_weight * up_kernel
        up_bias = residual_weight * up_bias
    branch = ops.matmul(branch, up_kernel) + up_bias[:, None, :]
    return ops.reshape(rows + branch, shape)


class StackedAdapter(keras.layers.Layer):
    """One encoder block's adapters, of every slot.

    `y = x + residual_weight * (relu(norm(x) down + down_bias) up + up_bias)`,
    each speaker with its own layer norm, projections and biases. All tensors
    start as zeros, which is the identity; a job draws the down projections
    that it starts from (`stack.Stack.initialize`).

    Args:
        num_slots: int, rows of the stack.
        model_dim: int.
        bottleneck_dim: int.
        residual_weight: float, what the adapter's branch counts for.
        epsilon: float, added to the variance in the layer norm.

    Call arguments:
        x: `[speakers, ..., model_dim]`, grouped by speaker.
        weights: an `AdapterWeights` of `[speakers, ...]`, from `select`, from
            a file or from anywhere else.
        dropout_mask: `[speakers, ..., bottleneck_dim]` or None; what the
            bottleneck is multiplied by. The caller draws it, since its stream
            belongs to the speaker.

    Returns:
        Same shape as `x`.
    """

    def __init__(
        self,
        num_slots,
        model_dim,
        bottleneck_dim,
        residual_weight=1.0,
        epsilon=EPSILON,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (
            ("num_slots", num_slots),
            ("model_dim", model_dim),
            ("bottleneck_dim", bottleneck_dim),
        ):
            if value < 1:
                raise ValueError(
                    f"`{name}` must be positive. Received: {value}."
                )
        self.num_slots = num_slots
        self.model_dim = model_dim
        self.bottleneck_dim = bottleneck_dim
        self.residual_weight = residual_weight
        self.epsilon = epsilon
        self.build()

    def build(self, input_shape=None):
        if self.built:
            return
        shapes = weight_shapes(self.model_dim, self.bottleneck_dim)
        self.stack = AdapterWeights(
            *(
                self.add_weight(
                    name=name,
                    shape=(self.num_slots, *shape),
                    initializer="zeros",
                )
                for name, shape in shapes._asdict().items()
            )
        )
        self.built = True

    def select(self, selector):
        """The weights of a batch's speakers.

        Args:
            selector: slot ids `[speakers]` int, gathered once per speaker, or
                embeddings `[speakers, num_slots]` float, which mix the slots.

        Returns:
            An `AdapterWeights` of `[speakers, ...]`.

        Raises:
            ValueError: an id that is known now is out of range; XLA would
                clamp it and serve a stranger's weights.
        """
        if len(selector.shape) == 2:
            if selector.shape[1] != self.num_slots:
                raise ValueError(
                    f"embeddings must be [speakers, {self.num_slots}]. "
                    f"Received: {tuple(selector.shape)}."
                )
            return AdapterWeights(
                *(
                    ops.einsum("se,e...->s...", selector, tensor)
                    for tensor in self.stack
                )
            )
        check_slots(selector, self.num_slots)
        return AdapterWeights(
            *(ops.take(tensor, selector, axis=0) for tensor in self.stack)
        )

    def call(self, x, weights, dropout_mask=None):
        return apply_weights(
            ops.cast(x, self.compute_dtype),
            weights,
            self.residual_weight,
            self.epsilon,
            dropout_mask,
        )

    def compute_output_shape(self, x_shape, *args, **kwargs):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_slots": self.num_slots,
            "model_dim": self.model_dim,
            "bottleneck_dim": self.bottleneck_dim,
            "residual_weight": self.residual_weight,
            "epsilon": self.epsilon,
        }


def check_slots(slots, num_slots):
    """Refuses slot ids that are known (not symbolic) and out of range."""
    try:
        slots = np.asarray(slots)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        return  # symbolic: whoever fed the graph has checked
    if slots.size and (slots.min() < 0 or slots.max() >= num_slots):
        raise ValueError(
            f"slot ids must be in [0, {num_slots}). Received: {slots.tolist()}."
        )
