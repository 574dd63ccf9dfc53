import numpy as np

from lingvo_like.layers import feed_forward
from tests import layer_checks


def test_keeps_the_layer_contract():
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    layer_checks.check(
        feed_forward.FeedForward,
        {"model_dim": 6, "expansion": 3, "dropout_rate": 0.1},
        (x,),
        output_shape=(2, 5, 6),
        num_weights=6,
    )
