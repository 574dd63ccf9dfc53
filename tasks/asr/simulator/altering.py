"""Alters the recording of a human voice as a disorder would.

FFmpeg changes the tempo (its WSOLA, `atempo`). The spectral envelope is the
low-quefrency part of the cepstrum (Oppenheim & Schafer): it is moved towards
the utterance's mean, while the excitation under it stays as it was spoken.
"""

import av
import av.error
import av.filter
import numpy as np
from scipy import ndimage, signal

from tasks.asr.simulator import disorders

SAMPLE_RATE = 16000
_WINDOW, _HOP = 512, 128
_HOP_SECONDS = _HOP / SAMPLE_RATE
# Cepstral coefficients of an envelope: detail down to 500 Hz.
_NUM_CEPSTRA = 32
# The envelope of a frame changes by no more than this.
_MOST_NEPERS = 4.0
# Speech is what is less than this below the loudest frame.
_SPEECH_DB = 40.0
_FLOOR = 1e-5
# Aspiration is a noise of high frequencies.
_BREATH_HERTZ = 1500.0
_SYLLABLE_SECONDS, _DIP_DB, _FADE_SECONDS = 0.15, 6.0, 0.01


def alter(
    samples: np.ndarray,
    disorder: disorders.Disorder,
    rng: np.random.Generator,
) -> np.ndarray:
    """A recording as somebody with the disorder would have said it.

    Args:
        samples: `[samples]` float32 in [-1, 1] at `SAMPLE_RATE`.
        rng: the utterance's own.

    Returns:
        `[other samples]` float32, as loud as before.
    """
    altered = _change_tempo(samples, disorder.rate)
    altered = _change_spectrum(altered, disorder, rng)
    altered = _tremble(altered, disorder, rng)
    altered = _pause(altered, disorder, rng)
    altered *= _loudness(samples) / max(_loudness(altered), _FLOOR)
    peak = np.max(np.abs(altered), initial=0.0)
    return (altered / max(1.0, peak)).astype(np.float32)


def _loudness(samples: np.ndarray) -> float:
    """The root mean square of what is not silence."""
    power = samples.astype(np.float64) ** 2
    loud = power > np.max(power, initial=0.0) * 10 ** (-_SPEECH_DB / 10)
    return float(np.sqrt(np.mean(power[loud]))) if loud.any() else 0.0


def _change_tempo(samples: np.ndarray, rate: float) -> np.ndarray:
    if rate == 1:
        return samples.astype(np.float64)
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=SAMPLE_RATE, format="flt", layout="mono"
    )
    tempo = graph.add("atempo", f"{rate:.6f}")
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples[None], np.float32), "flt", "mono"
    )
    frame.sample_rate = SAMPLE_RATE
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    # What is shorter than a window of the filter leaves nothing.
    return np.concatenate(parts or [samples]).astype(np.float64)


def _change_spectrum(
    samples: np.ndarray,
    disorder: disorders.Disorder,
    rng: np.random.Generator,
) -> np.ndarray:
    """Undershoot and breath."""
    changes = disorder.undershoot or disorder.smear_seconds or disorder.breath
    if not changes or len(samples) < _WINDOW:
        return samples
    _, _, spectrum = signal.stft(
        samples, nperseg=_WINDOW, noverlap=_WINDOW - _HOP
    )
    magnitude = np.abs(spectrum).T + _FLOOR
    # Cepstra [frames, _NUM_CEPSTRA] without the first, which is the loudness.
    cepstra = np.fft.irfft(np.log(magnitude))[:, 1 : _NUM_CEPSTRA + 1]
    loudness = np.sqrt(np.mean(magnitude**2, 1))
    speech = _how_much_speech(loudness)
    mean = np.average(cepstra, 0, weights=speech * loudness + _FLOOR)
    width = disorder.smear_seconds / _HOP_SECONDS
    moved = ndimage.gaussian_filter1d(cepstra, width, 0) if width else cepstra
    moved = moved + disorder.undershoot * (mean - moved)
    change = _envelope((moved - cepstra) * speech[:, None])
    change = np.clip(change, -_MOST_NEPERS, _MOST_NEPERS)
    altered = magnitude * np.exp(change)
    # As loud as it was, frame for frame.
    gain = loudness / np.sqrt(np.mean(altered**2, 1))
    spectrum = spectrum * (np.exp(change) * gain[:, None]).T
    if disorder.breath:
        level = np.exp(_envelope(moved)) * np.exp(
            np.log(magnitude).mean(1, keepdims=True)
        )
        frequencies = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
        level *= frequencies / (frequencies + _BREATH_HERTZ)
        noise = rng.standard_normal((*level.shape, 2)) @ [1, 1j]
        noise *= disorder.breath * speech[:, None] * level
        spectrum = spectrum + noise.T
    _, result = signal.istft(spectrum, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)
    return result[: len(samples)]


def _how_much_speech(loudness: np.ndarray) -> np.ndarray:
    """`[frames]` from 0, silence, to 1."""
    decibels = 20 * np.log10(loudness / np.max(loudness) + _FLOOR)
    return np.clip((decibels + _SPEECH_DB) / 10, 0, 1)


def _envelope(cepstra: np.ndarray) -> np.ndarray:
    """The log spectrum `[frames, bins]` of low cepstra, loudness left out."""
    quefrencies = np.arange(1, _NUM_CEPSTRA + 1)
    bins = np.arange(_WINDOW // 2 + 1)
    angles = 2 * np.pi * np.outer(quefrencies, bins) / _WINDOW
    return cepstra @ (2 * np.cos(angles))


def _tremble(
    samples: np.ndarray,
    disorder: disorders.Disorder,
    rng: np.random.Generator,
) -> np.ndarray:
    if not (disorder.tremor_depth or disorder.pitch_tremor):
        return samples
    radians = 2 * np.pi * disorder.tremor_hertz / SAMPLE_RATE
    start = rng.uniform(0, 2 * np.pi)
    phase = radians * np.arange(len(samples)) + start
    # Reading now faster and now slower moves the pitch.
    places = np.arange(len(samples)) + disorder.pitch_tremor / radians * (
        np.sin(phase) - np.sin(start)
    )
    bent = ndimage.map_coordinates(samples, [places], order=3, mode="nearest")
    return bent * (1 - disorder.tremor_depth * (0.5 + 0.5 * np.cos(phase)))


def _pause(
    samples: np.ndarray,
    disorder: disorders.Disorder,
    rng: np.random.Generator,
) -> np.ndarray:
    """Stops between syllables, with the recording's own background noise."""
    if not disorder.pause_rate:
        return samples
    frames = np.sqrt(
        ndimage.uniform_filter1d(samples**2, _WINDOW, mode="constant")[::_HOP]
    )
    background = np.quantile(frames, 0.02)
    fade = round(_FADE_SECONDS * SAMPLE_RATE)
    ramp = np.linspace(1, 0, fade)
    places = _between_syllables(frames)
    # All at first: a higher rate only adds pauses.
    chances = rng.random(len(places))
    lengths = rng.uniform(0.5, 1.5, len(places))
    parts, begin = [], 0
    for place, chance, length in zip(places, chances, lengths, strict=True):
        end = place * _HOP
        if chance >= disorder.pause_rate or end - begin < 2 * fade:
            continue
        parts.append(_faded(samples[begin:end], ramp, begin > 0, True))
        gap = round(length * disorder.pause_seconds * SAMPLE_RATE)
        parts.append(background * rng.standard_normal(gap))
        begin = end
    parts.append(_faded(samples[begin:], ramp, begin > 0, False))
    return np.concatenate(parts)


def _between_syllables(frames: np.ndarray) -> np.ndarray:
    """Frames where the voice is low between two syllables."""
    decibels = 20 * np.log10(frames / np.max(frames) + _FLOOR)
    smooth = ndimage.gaussian_filter1d(decibels, 0.02 / _HOP_SECONDS)
    dips, _ = signal.find_peaks(
        -smooth,
        prominence=_DIP_DB,
        distance=_SYLLABLE_SECONDS / _HOP_SECONDS,
    )
    return dips


def _faded(
    samples: np.ndarray, ramp: np.ndarray, at_begin: bool, at_end: bool
) -> np.ndarray:
    samples = samples.copy()
    length = min(len(ramp), len(samples))
    if at_begin:
        samples[:length] *= ramp[::-1][:length]
    if at_end:
        samples[len(samples) - length :] *= ramp[len(ramp) - length :]
    return samples
