"""Each alteration has its effect on a recording."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra simulate")

from scipy import signal  # noqa: E402

from tasks.asr.simulator import altering, disorders, voices  # noqa: E402

RATE = altering.SAMPLE_RATE
# Formants of two vowels.
VOWELS = ((700, 1100), (300, 2300))


def alter(samples, **values):
    rng = voices.stream(0, "ann", 1)
    return altering.alter(samples, disorders.Disorder(**values), rng)


def tone(hertz=300.0, seconds=1.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def vowel(formants, seconds=0.5, pitch=120):
    """A pulse train through resonators."""
    samples = np.zeros(int(seconds * RATE))
    samples[:: RATE // pitch] = 1.0
    for hertz in formants:
        pole = np.exp(-np.pi * 80 / RATE + 2j * np.pi * hertz / RATE)
        samples = signal.lfilter(
            [1], np.poly([pole, pole.conj()]).real, samples
        )
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


def two_vowels():
    return np.concatenate([vowel(formants) for formants in VOWELS])


def bursts(number=4):
    """Syllables with quiet between them."""
    syllable = tone(300, 0.25) * np.hanning(RATE // 4)
    quiet = np.full(RATE // 10, 1e-4)
    return np.concatenate([quiet, *[syllable, quiet] * number]).astype("f4")


def envelope(samples):
    """The smoothed log spectrum `[bins]`."""
    _, power = signal.welch(samples, RATE, nperseg=512)
    cepstrum = np.fft.irfft(np.log(power + 1e-12))
    cepstrum[25:-24] = 0
    return np.fft.rfft(cepstrum).real[:120]


def distance(samples):
    """Between the envelopes of a recording's halves."""
    middle, margin = len(samples) // 2, RATE // 10
    first = envelope(samples[margin : middle - margin])
    second = envelope(samples[middle + margin : -margin])
    return np.std(first - second)


def harmonic(samples):
    """How much of a vowel's power is at multiples of its pitch."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    orders = np.fft.rfftfreq(len(samples), 1 / RATE) / (RATE / (RATE // 120))
    near = np.abs(orders - np.round(orders)) < 0.12
    return np.sum(power[near]) / np.sum(power)


def loudness(samples):
    return np.sqrt(np.mean(samples**2))


def test_nothing_to_alter_leaves_the_recording_as_it_is():
    samples = two_vowels()
    np.testing.assert_array_equal(alter(samples), samples)


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_a_slower_rate_keeps_the_pitch(rate):
    altered = alter(tone(440, 2.0), rate=rate)
    assert len(altered) / RATE == pytest.approx(2.0 / rate, rel=0.02)
    peak = np.argmax(np.abs(np.fft.rfft(altered))) * RATE / len(altered)
    assert peak == pytest.approx(440, abs=3)


def test_undershoot_brings_vowels_nearer_to_each_other():
    samples = two_vowels()
    found = [
        distance(alter(samples, undershoot=undershoot))
        for undershoot in (0.0, 0.3, 0.6)
    ]
    assert found[0] == pytest.approx(distance(samples))
    assert found[1] / found[0] == pytest.approx(0.7, abs=0.1)
    assert found[2] / found[0] == pytest.approx(0.4, abs=0.1)


def test_undershoot_keeps_the_pitch_and_the_loudness_of_both_vowels():
    samples = two_vowels()
    altered = alter(samples, undershoot=0.6)
    assert len(altered) == len(samples)
    middle = len(samples) // 2
    for part in (slice(2000, middle - 2000), slice(middle + 2000, -2000)):
        assert harmonic(altered[part]) > 0.98 * harmonic(samples[part]) > 0.9
    before = loudness(samples[:middle]) / loudness(samples[middle:])
    after = loudness(altered[:middle]) / loudness(altered[middle:])
    assert after == pytest.approx(before, rel=0.1)


def test_a_smeared_envelope_moves_later_and_keeps_still_vowels():
    samples = two_vowels()
    altered = alter(samples, smear_seconds=0.03)
    assert distance(altered) == pytest.approx(distance(samples), rel=0.05)
    middle = len(samples) // 2
    before, after = (
        envelope(each[middle + 200 : middle + 1200])
        for each in (samples, altered)
    )
    assert np.std(after - before) > 0.1


def test_breath_is_noise_where_the_voice_is():
    quiet = np.zeros(RATE // 2, np.float32)
    samples = np.concatenate([vowel(VOWELS[0]), quiet])
    levels = []
    for breath in (0.2, 0.4):
        altered = alter(samples, breath=breath)
        noise = altered - samples * loudness(altered[:8000]) / loudness(
            samples[:8000]
        )
        levels.append(loudness(signal.lfilter([1, -1], [1], noise)[:8000]))
        assert loudness(altered[9000:]) < 1e-4
    assert levels[1] > 1.5 * levels[0] > 0


def hiss(seconds):
    """A quiet background noise of low frequencies."""
    noise = np.random.default_rng(0).normal(0, 1, int(seconds * RATE))
    return (2e-4 * signal.lfilter([1], [1, -0.9], noise)).astype(np.float32)


@pytest.mark.parametrize("change", ["undershoot", "breath"])
def test_what_is_between_words_stays_as_it_is(change):
    quiet = hiss(0.6)
    samples = np.concatenate([two_vowels(), quiet])
    altered = alter(samples, **{change: 0.6})
    kept = altered[-len(quiet) + 2000 : -2000]
    before = quiet[2000:-2000]
    # As it was, at most louder or softer as a whole.
    assert np.corrcoef(kept, before)[0, 1] > 0.99
    assert loudness(kept) == pytest.approx(loudness(before), rel=0.25)


def test_silence_does_not_move_the_mean_of_the_voice():
    samples = two_vowels()
    long = np.concatenate([hiss(3.0), samples, hiss(3.0)])
    alone = distance(alter(samples, undershoot=0.5))
    among = alter(long, undershoot=0.5)[3 * RATE : -3 * RATE]
    assert distance(among) == pytest.approx(alone, rel=0.05)
    first = slice(2000, 6000)
    shift = envelope(among[first]) - envelope(
        alter(samples, undershoot=0.5)[first]
    )
    assert np.std(shift) < 0.1


@pytest.mark.parametrize(
    "values",
    [{"tremor_depth": 0.8}, {"breath": 0.8}, {"rate": 0.6}],
    ids=lambda values: next(iter(values)),
)
def test_an_altered_recording_is_as_loud_as_it_was(values):
    samples = vowel(VOWELS[0], 2.0)
    altered = alter(samples, **values)
    assert loudness(altered) == pytest.approx(loudness(samples), rel=0.1)


def test_a_tremor_modulates_the_loudness_at_its_own_rate():
    altered = alter(tone(400, 2.0), tremor_hertz=5.0, tremor_depth=0.5)
    level = np.abs(signal.hilbert(altered))[2000:-2000]
    spectrum = np.abs(np.fft.rfft(level - level.mean()))
    peak = np.argmax(spectrum) * RATE / len(level)
    assert peak == pytest.approx(5.0, abs=0.5)
    assert level.min() / level.max() == pytest.approx(0.5, abs=0.03)


def test_a_pitch_tremor_bends_the_pitch_by_its_fraction():
    altered = alter(tone(400, 2.0), tremor_hertz=5.0, pitch_tremor=0.05)
    phase = np.unwrap(np.angle(signal.hilbert(altered)))
    hertz = np.diff(phase)[2000:-2000] * RATE / (2 * np.pi)
    assert hertz.max() == pytest.approx(420, abs=3)
    assert hertz.min() == pytest.approx(380, abs=3)


def test_pauses_come_between_syllables():
    samples = bursts(4)
    altered = alter(samples, pause_rate=1.0, pause_seconds=0.3)
    added = (len(altered) - len(samples)) / RATE
    # Three gaps of 0.15 to 0.45 s.
    assert 3 * 0.15 <= added <= 3 * 0.45
    # All four syllables are still there, with as much of the voice.
    level = signal.convolve(np.abs(altered), np.ones(800) / 800, "same")
    assert len(signal.find_peaks(level, height=0.05, distance=2000)[0]) == 4
    assert np.sum(altered**2) == pytest.approx(np.sum(samples**2), rel=0.02)


def test_more_pauses_are_the_same_pauses_and_others():
    few, many = (
        alter(bursts(12), pause_rate=rate, pause_seconds=0.3)
        for rate in (0.3, 0.8)
    )
    assert len(bursts(12)) < len(few) < len(many)


def test_a_whole_disorder_is_as_loud_and_never_clips():
    samples = np.tile(two_vowels(), 2) * 3
    disorder = disorders.draw(0, "ann", "severe")
    altered = altering.alter(samples, disorder, voices.stream(0))
    assert altered.dtype == np.float32
    assert np.max(np.abs(altered)) <= 1
    assert np.all(np.isfinite(altered))
    again = altering.alter(samples, disorder, voices.stream(0))
    np.testing.assert_array_equal(altered, again)
    other = altering.alter(samples, disorder, voices.stream(1))
    assert altered.shape != other.shape or np.any(altered != other)


@pytest.mark.parametrize("length", [160, 700, 4000])
def test_short_recordings_can_be_altered(length):
    disorder = disorders.draw(0, "ann", "severe")
    samples = tone()[:length]
    altered = altering.alter(samples, disorder, voices.stream(0))
    assert len(altered) and np.all(np.isfinite(altered))
