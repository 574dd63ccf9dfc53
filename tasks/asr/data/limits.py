"""Limits on the samples of an utterance, in training as in serving.

The same limits stand in what is exported (`tasks.serving.exports.statuses`), so
that a recording that is left out of training is refused by a server, too.
"""

import numpy as np

from tasks.asr.data import rejections

# Far above any audio in [-1, 1], far below integers that nobody scaled.
MAX_AMPLITUDE = 16.0
# Below this distance from the mean of the extremes there is digital silence: a
# few steps of 16 bits, as dither and lossy codecs leave them. Recognisers make
# up words for it.
SILENCE_PEAK = 1e-4
# An utterance has at least one frame of any frontend.
MIN_SECONDS = 0.01


def check(samples: np.ndarray, sample_rate: int) -> None:
    """Raises unless a recogniser can hear something in it.

    Args:
        samples: float32 mono `[samples]`, at least one.
        sample_rate: in Hz.

    Raises:
        UnusableError: a sample is not finite or far outside of [-1, 1], or it
            is too short or silent.
    """
    odd = np.count_nonzero(~np.isfinite(samples))
    if odd:
        raise rejections.UnusableError(
            "samples that are not numbers (NaN or infinite)",
            f"{odd} of {len(samples)}",
        )
    highest, lowest = float(samples.max()), float(samples.min())
    peak = max(highest, -lowest)
    if peak > MAX_AMPLITUDE:
        raise rejections.UnusableError(
            "samples far outside of [-1, 1]",
            f"the peak is {peak:g}; 16-bit integers are divided by 32768",
        )
    seconds = len(samples) / sample_rate
    if seconds < MIN_SECONDS:
        raise rejections.UnusableError(
            "too short to hear anything",
            f"{seconds:g} s, at least {MIN_SECONDS:g} s",
        )
    # A constant offset is no sound.
    if highest - lowest < 2 * SILENCE_PEAK:
        raise rejections.UnusableError("silence from start to end")
