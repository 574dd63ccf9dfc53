"""Writes what was simulated."""

import io
import os
import pathlib

import numpy as np
import soundfile


def write(
    path: str | os.PathLike, samples: np.ndarray, sample_rate: int
) -> None:
    """Writes `[samples]` int16, or float in [-1, 1], as a 16-bit WAV file."""
    # Encoded in memory: soundfile hides why a file cannot be written.
    wav = io.BytesIO()
    soundfile.write(wav, samples, sample_rate, "PCM_16", format="WAV")
    pathlib.Path(path).write_bytes(wav.getvalue())
