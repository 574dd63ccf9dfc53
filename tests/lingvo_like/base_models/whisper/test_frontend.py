import keras_hub
import numpy as np
import pytest

from lingvo_like.base_models.whisper import frontend

LENGTHS = (30000, 12345, 480000)


def speechlike(length, seed=0, level=0.3):
    generator = np.random.default_rng(seed)
    time = np.arange(length) / 16000.0
    tone = np.sin(2 * np.pi * (150 + 400 * time) * time)
    return (
        level * tone + 0.05 * level * generator.standard_normal(length)
    ).astype("float32")


def padded(samples=480000, level=0.3):
    audio = np.zeros((len(LENGTHS), samples), "float32")
    for row, length in enumerate(LENGTHS):
        signal = speechlike(length, row, level)[:samples]
        audio[row, : len(signal)] = signal
    return audio


@pytest.mark.parametrize("num_bins", [80, 128])
@pytest.mark.parametrize("level", [0.3, 1e-4])
def test_features_are_those_of_kerashub(num_bins, level):
    audio = padded(level=level)
    converter = keras_hub.layers.WhisperAudioConverter(num_mels=num_bins)
    features, _ = frontend.log_mel(
        audio, np.array(LENGTHS), frontend.mel_filters(num_bins)
    )
    np.testing.assert_allclose(features, converter(audio), atol=1e-4)


def test_features_are_those_of_faster_whisper():
    extractor = pytest.importorskip("faster_whisper.feature_extractor")
    audio = padded()
    features, _ = frontend.log_mel(
        audio, np.array(LENGTHS), frontend.mel_filters(80)
    )
    expected = extractor.FeatureExtractor()(audio[0])[:, :3000]
    np.testing.assert_allclose(features[0], expected.T, atol=1e-4)


def test_frames_are_valid_while_their_window_sees_signal():
    lengths = np.array([0, 1, 120, 121, 16000])
    audio = np.zeros((5, 16000), "float32")
    _, paddings = frontend.log_mel(audio, lengths, frontend.mel_filters(80))
    valid = (1 - np.asarray(paddings)).sum(-1).astype(int)
    expected = [
        sum(t * 160 - 200 < length for t in range(100)) if length else 0
        for length in lengths
    ]
    assert valid.tolist() == expected


@pytest.mark.parametrize("level", [0.3, 1e-4, 0.0])
def test_padded_frames_hold_what_silence_gives(level):
    # Frames counted as valid to the end: none of them is filled in.
    audio = padded(48000, level)[:2]
    filters = frontend.mel_filters(80)
    expected, _ = frontend.log_mel(audio, np.array([48000] * 2), filters)
    features, paddings = frontend.log_mel(audio, np.array(LENGTHS[:2]), filters)
    assert np.asarray(paddings).sum() > 0
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize("garbage", [0.5, np.nan, np.inf])
def test_filling_ignores_what_padded_frames_hold(garbage):
    filters = frontend.mel_filters(80)
    features, paddings = frontend.log_mel(
        padded(48000)[:2], np.array(LENGTHS[:2]), filters
    )
    np.testing.assert_array_equal(
        frontend.fill_with_silence(features, paddings), features
    )
    dirty = np.where(np.asarray(paddings)[..., None] > 0, garbage, features)
    np.testing.assert_array_equal(
        frontend.fill_with_silence(dirty.astype("float32"), paddings),
        features,
    )
