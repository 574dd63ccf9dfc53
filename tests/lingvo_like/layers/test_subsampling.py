import numpy as np
import pytest

from lingvo_like.layers import subsampling
from tests import layer_checks

RNG = np.random.default_rng(0)


def features(time, batch=1):
    return RNG.normal(size=(batch, time, 8)).astype("float32")


def paddings(time, *valid):
    return (np.arange(time) >= np.array(valid)[:, None]).astype("float32")


def test_keeps_the_layer_contract():
    layer_checks.check(
        subsampling.ConvSubsampling,
        {"model_dim": 6, "dropout_rate": 0.1},
        (features(22, batch=2), paddings(22, 22, 9)),
        output_shape=(2, 6, 6),
        num_weights=6,
    )


@pytest.mark.parametrize("valid", [1, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("bucket", [9, 10, 11, 12, 16])
def test_the_bucket_and_its_garbage_change_nothing(valid, bucket):
    layer = subsampling.ConvSubsampling(4)
    x = features(valid)
    alone = layer(x, paddings(valid, valid))
    padded = np.full((1, bucket, 8), np.nan, "float32")
    padded[:, :valid] = x
    result = layer(padded, paddings(bucket, valid))
    frames = -(-valid // 4)
    assert alone.shape[1] == frames
    np.testing.assert_allclose(result[:, :frames], alone, atol=1e-5)
    kept = subsampling.subsample_paddings(paddings(bucket, valid))
    assert kept.shape[1] == result.shape[1]
    assert (1 - kept).sum() == frames
