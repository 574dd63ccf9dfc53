import numpy as np

from lingvo_like.layers import conformer
from tests import layer_checks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 9, 8)).astype("float32")
PADDINGS = np.array([[0] * 9, [0] * 5 + [1] * 4], "float32")
ARGUMENTS = {
    "model_dim": 8,
    "num_heads": 2,
    "kernel_size": 4,
    "feed_forward_expansion": 2,
    "dropout_rate": 0.1,
}


def test_keeps_the_layer_contract():
    layer_checks.check(
        conformer.ConformerBlock,
        ARGUMENTS,
        (X, PADDINGS),
        output_shape=(2, 9, 8),
        num_weights=33,
    )


def test_padded_frames_and_neighbours_do_not_change_a_row():
    block = conformer.ConformerBlock(**ARGUMENTS)
    alone = block(X[1:, :5], PADDINGS[1:, :5])
    dirty = X.copy()
    dirty[0] = RNG.normal(size=(9, 8), scale=20.0)
    dirty[1, 5:] = 100.0
    together = block(dirty, PADDINGS)
    np.testing.assert_allclose(together[1:, :5], alone, atol=1e-5)


def test_dropout_acts_in_training_only():
    block = conformer.ConformerBlock(**{**ARGUMENTS, "dropout_rate": 0.5})
    np.testing.assert_array_equal(block(X, PADDINGS), block(X, PADDINGS))
    first = block(X, PADDINGS, training=True)
    assert np.abs(first - block(X, PADDINGS, training=True)).max() > 0.01
