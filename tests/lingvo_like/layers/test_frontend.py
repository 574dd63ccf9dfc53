import numpy as np
import pytest

from lingvo_like.layers import frontend
from tests import layer_checks

RATE = 16000


def tone(hertz, seconds, batch=1):
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * hertz * time)
    return np.tile(wave.astype("float32"), (batch, 1))


def noise(samples, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, samples), scale=0.1).astype("float32")


def lengths(*values):
    return np.array(values, "int32")


def test_keeps_the_layer_contract():
    layer_checks.check(
        frontend.LogMelFrontend,
        {"num_bins": 40, "upper_edge_hertz": 7000.0},
        (noise(8000, batch=2), lengths(8000, 5000)),
        output_shape=(2, 50, 40),
        num_weights=0,
        output_dtype="float32",
        bfloat16_tolerance=0.0,
    )


def test_frames_are_counted_by_their_first_sample():
    layer = frontend.LogMelFrontend()
    _, paddings = layer(noise(1600, batch=4), lengths(0, 1, 160, 161))
    np.testing.assert_array_equal((1 - paddings).numpy().sum(1), [0, 1, 1, 2])


def test_a_tone_is_loudest_in_its_own_bin():
    layer = frontend.LogMelFrontend()
    low, high = tone(500.0, 0.5), tone(3000.0, 0.5)
    audio = np.concatenate([low, high], axis=1)
    features, _ = layer(audio, lengths(RATE))
    edges = np.linspace(
        frontend.hertz_to_mel(80.0), frontend.hertz_to_mel(7600.0), 82
    )
    for hertz, own, other in ((500.0, 20, 80), (3000.0, 80, 20)):
        peak = np.abs(edges[1:-1] - frontend.hertz_to_mel(hertz)).argmin()
        assert features[0, own, peak] > features[0, other, peak] + 1.0


@pytest.mark.parametrize("garbage", [0.7, np.nan, np.inf])
def test_what_lies_past_the_length_is_not_looked_at(garbage):
    layer = frontend.LogMelFrontend()
    clean = noise(8000)
    clean[:, 5000:] = 0.0
    dirty = clean.copy()
    dirty[:, 5000:] = garbage
    expected, _ = layer(clean, lengths(5000))
    actual, _ = layer(dirty, lengths(5000))
    np.testing.assert_array_equal(actual, expected)


def test_a_longer_bucket_changes_nothing():
    layer = frontend.LogMelFrontend()
    audio = noise(5037)
    short, _ = layer(audio, lengths(5037))
    padded = np.pad(audio, ((0, 0), (0, 4000)), constant_values=1.0)
    long, paddings = layer(padded, lengths(5037))
    np.testing.assert_allclose(long[:, : short.shape[1]], short, atol=1e-5)
    assert paddings[0, short.shape[1] :].numpy().all()
    assert not long[:, short.shape[1] :].numpy().any()


def test_the_level_of_the_recording_cancels():
    layer = frontend.LogMelFrontend()
    audio = noise(8000)
    loud, _ = layer(audio, lengths(8000))
    quiet, _ = layer(audio * 0.2, lengths(8000))
    np.testing.assert_allclose(quiet, loud, atol=1e-2)


def test_silence_and_no_samples_are_finite():
    layer = frontend.LogMelFrontend()
    features, _ = layer(np.zeros((2, 4000), "float32"), lengths(4000, 0))
    np.testing.assert_allclose(features, np.zeros_like(features), atol=1e-3)


def test_every_filter_passes_something():
    matrix = frontend.mel_matrix(80, 257, RATE, 80.0, 7600.0)
    assert (matrix.sum(0) > 0).all()
    with pytest.raises(ValueError, match="300 mel bins are too many"):
        frontend.mel_matrix(300, 257, RATE, 80.0, 7600.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "`num_bins` must be positive. Received: 0"),
        ({"upper_edge_hertz": 9000.0}, "9000.0 at 16000 Hz"),
        ({"lower_edge_hertz": 8000.0}, "lower_edge_hertz < upper"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        frontend.LogMelFrontend(**arguments)
