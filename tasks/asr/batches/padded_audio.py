"""Recordings in the rows of one array, each padded with silence at its end."""

import itertools
from collections import abc

import numpy as np

from tasks.asr.data import audio, manifest


def read_samples(
    utterance: manifest.Utterance, sample_rate: int, speed_factor: float = 1.0
) -> np.ndarray:
    """One utterance's samples `[samples]` float32.

    Args:
        speed_factor: how much faster it is played, pitch included.

    Raises:
        UnusableError: the recording cannot be read.
    """
    samples = audio.read(
        utterance.audio_filepath,
        sample_rate,
        offset=utterance.offset,
        duration=utterance.duration,
    )
    return audio.change_speed(samples, speed_factor)


def pad(
    recordings: abc.Iterable[np.ndarray], num_rows: int, bucket: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pads recordings to one length and cuts off what is longer.

    Args:
        recordings: of `[samples]` float32 each; rows without one stay empty.
        bucket: padded length in samples.

    Returns:
        audio `[num_rows, bucket]` float32, zero past each length, and lengths
        `[num_rows]` int32, in samples.
    """
    padded = np.zeros((num_rows, bucket), np.float32)
    lengths = np.zeros([num_rows], np.int32)
    for row, samples in enumerate(recordings):
        lengths[row] = min(len(samples), bucket)
        padded[row, : lengths[row]] = samples[:bucket]
    return padded, lengths


def read(
    utterances: abc.Iterable[manifest.Utterance],
    sample_rate: int,
    num_rows: int,
    bucket: int,
    speed_factors: abc.Iterable[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads utterances and pads them; see `read_samples` and `pad`."""
    factors = speed_factors or itertools.repeat(1.0)
    recordings = (
        read_samples(utterance, sample_rate, factor)
        for utterance, factor in zip(utterances, factors, strict=False)
    )
    return pad(recordings, num_rows, bucket)
