"""Finds the silence before and after an utterance."""

import typing
import warnings
from collections import abc

import numpy as np

# What is this much below an utterance's peak is silence: 40 dB, between the
# soft consonants of speech and the noise of a quiet room.
_RELATIVE_LEVEL = 0.01
# Four steps of 16 bits; dither alone reaches two.
_LEAST_LEVEL = 4 / 32768
# Soft beginnings and ends stay.
_MARGIN_SECONDS = 0.1

# From samples `[samples]` and their rate to the first sample that stays and the
# one after the last.
Trimmer: typing.TypeAlias = abc.Callable[[np.ndarray, int], tuple[int, int]]


def trimmer() -> Trimmer:
    """A function that finds what of an utterance is not silence.

    It never leaves nothing: the loudest sample stays.

    Raises:
        ValueError: tensorflow-io is not installed.
    """
    # An optional package, and it loads TensorFlow.
    try:
        with warnings.catch_warnings():
            # Its own operations load on no TensorFlow that this project
            # supports, and trimming needs none of them.
            warnings.simplefilter("ignore", UserWarning)
            import tensorflow_io as tfio
    except ImportError:
        raise ValueError(
            "`data.trim_silence` needs the package tensorflow-io; install it "
            "with: pip install -e '.[io]'"
        ) from None

    def trim(samples: np.ndarray, sample_rate: int) -> tuple[int, int]:
        # The operation compares samples with the level, not their magnitudes.
        magnitudes = np.abs(samples - samples.mean())
        level = max(_RELATIVE_LEVEL * magnitudes.max(), _LEAST_LEVEL)
        start, stop = tfio.audio.trim(magnitudes, 0, level).numpy()
        if start >= stop:
            return 0, len(samples)
        margin = round(_MARGIN_SECONDS * sample_rate)
        return max(0, start - margin), min(len(samples), stop + margin)

    return trim
