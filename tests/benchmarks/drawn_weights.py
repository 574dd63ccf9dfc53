"""Random weights for a model that a benchmark times without a checkpoint."""

import numpy as np


def draw(layer):
    """Draws every kernel and table of a built Keras layer; they were zeros."""
    generator = np.random.default_rng(0)
    for weight in layer.weights:
        if len(weight.shape) > 1:
            values = generator.normal(0.0, 0.02, weight.shape)
            weight.assign(values.astype("float32"))
