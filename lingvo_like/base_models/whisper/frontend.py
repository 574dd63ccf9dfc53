"""Whisper's log-mel frontend, in the graph (Radford et al. 2022, 2.2)."""

from typing import TypeAlias

import numpy as np
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types

Tensor: TypeAlias = tensor_types.Tensor

SAMPLE_RATE = 16000
WINDOW_SAMPLES = 400
STEP_SAMPLES = 160
# The feature of the power floor, 1e-10: (log10(1e-10) + 4) / 4.
LOWEST = -1.5
# The dynamic range of an utterance: 8 in log10 power, divided by 4.
RANGE = 2.0


def mel_filters(num_bins: int) -> np.ndarray:
    """Slaney's mel filters, each of unit area, from 0 to 8 kHz.

    Linear below 1 kHz and logarithmic above (Slaney 1998, Auditory Toolbox).
    Returns `[201, num_bins]` float32.
    """
    break_mel, step = 15.0, np.log(6.4) / 27.0
    top_mel = break_mel + np.log(SAMPLE_RATE / 2 / 1000.0) / step
    mels = np.linspace(0.0, top_mel, num_bins + 2)
    hertz = np.where(
        mels < break_mel,
        mels * 200.0 / 3.0,
        1000.0 * np.exp(step * (mels - break_mel)),
    )
    frequencies = np.fft.rfftfreq(WINDOW_SAMPLES, 1.0 / SAMPLE_RATE)
    ramps = hertz[:, None] - frequencies[None, :]
    widths = np.diff(hertz)[:, None]
    rising = -ramps[:-2] / widths[:-1]
    falling = ramps[2:] / widths[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters *= 2.0 / (hertz[2:] - hertz[:-2])[:, None]
    return filters.T.astype("float32")


def valid_frames(lengths: Tensor) -> Tensor:
    """The number of frames whose window sees signal, of lengths in samples."""
    frames = (lengths + WINDOW_SAMPLES // 2 + STEP_SAMPLES - 1) // STEP_SAMPLES
    return ops.where(lengths > 0, frames, 0)


def fill_with_silence(features: Tensor, paddings: Tensor) -> Tensor:
    """Replaces padded frames by exactly the features of silence.

    Whisper was trained on utterances followed by silence and attends to it,
    so padding is neither masked nor zero. Padded frames of the features
    `[batch, time, num_bins]` may hold anything.
    """
    valid = paddings_lib.to_mask(paddings)[:, :, None]
    peak = ops.max(
        ops.where(valid, features, LOWEST), axis=(1, 2), keepdims=True
    )
    return ops.where(valid, features, ops.maximum(peak - RANGE, LOWEST))


def log_mel(
    audio: Tensor, lengths: Tensor, filters: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Log-mel features of each utterance, in Whisper's normalised units.

    Args:
        audio: `[batch, samples]` float32 in [-1, 1]; samples past a row's
            length may hold anything.
        lengths: `[batch]` int32, valid samples.
        filters: `[201, num_bins]`, from `mel_filters`.

    Returns:
        features `[batch, samples // 160, num_bins]` float32 and paddings
        `[batch, samples // 160]` float32.
    """
    num_samples = ops.shape(audio)[1]
    lengths = ops.cast(lengths, "int32")
    audio = paddings_lib.zero_padded(
        ops.cast(audio, "float32"),
        paddings_lib.from_lengths(lengths, num_samples),
    )
    real, imaginary = ops.stft(
        audio,
        sequence_length=WINDOW_SAMPLES,
        sequence_stride=STEP_SAMPLES,
        fft_length=WINDOW_SAMPLES,
        window="hann",
        center=True,
    )
    power = ops.square(real[:, :-1]) + ops.square(imaginary[:, :-1])
    mel = ops.maximum(ops.matmul(power, filters), 1e-10)
    features = (ops.log10(mel) + 4.0) / 4.0
    peak = ops.max(features, axis=(1, 2), keepdims=True)
    features = ops.maximum(features, peak - RANGE)
    paddings = paddings_lib.from_lengths(
        valid_frames(lengths), num_samples // STEP_SAMPLES
    )
    return fill_with_silence(features, paddings), paddings
