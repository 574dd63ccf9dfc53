"""Reads recordings: whatever phones, browsers and recorders write.

PyAV decodes and libsoxr resamples. The length in a file's header is never a
promise: decoding stops at the limit that the caller sets, and what was decoded
is the length. Every failure is a `rejections.UnusableError`, which names the
recording and what is wrong with it.

Wherever a path is taken, `shard-00000.tfrecord#1234` is the recording that is a
record of a TFRecord file (`tasks.pack_shards` makes them).
"""

import contextlib
import math
from collections import abc

import av
import numpy as np
import soxr

from tasks.asr.data import decoder, limits, rejections, tfrecord, truncation

# The reason of an error beyond `max_seconds`.
TOO_LONG = "recording is too long"
HOW_TO_SPLIT = "python -m tasks.split_recordings cuts it at its pauses"

# Of each channel: a small file may hold hundreds of them.
_MAX_QUEUED_SAMPLES = 1 << 18
# Enough for the header of a FLAC file.
_HEADER_BYTES = 1024


def seconds(path: str) -> float:
    """The length of a recording.

    A header that counts samples (WAV, FLAC) is believed if the file is large
    enough for it. Everything else is decoded.

    Raises:
        UnusableError: the file is missing, is not audio, is cut off, or holds
            no samples.
    """
    if tfrecord.parse(path):
        # The rest of the record may lie in a bucket.
        with (
            contextlib.suppress(rejections.UnusableError),
            decoder.opened(path, _HEADER_BYTES) as recording,
        ):
            if recording.is_flac and recording.promised:
                return recording.promised / recording.sample_rate
    with decoder.opened(path) as recording:
        end = recording.promised
        if not recording.header_is_plausible:
            end = recording.end(sum(f.samples for _, f in recording.frames()))
        return end / recording.sample_rate


def load(
    source: str | bytes,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = math.inf,
) -> tuple[np.ndarray, int]:
    """Decodes samples at the recording's own rate.

    Args:
        source: a path, or the bytes of a file.
        offset: seconds to skip.
        duration: seconds to read; None reads to the end.
        max_seconds: decoding stops, with an error, beyond this many.

    Returns:
        float32 mono `[samples]`, channels averaged, and the sample rate.

    Raises:
        UnusableError: the recording cannot be decoded, has no samples there,
            ends before `offset + duration`, is longer than `max_seconds`, or
            holds what `limits.check` refuses.
    """
    with decoder.opened(source) as recording:
        samples = decode(recording, offset, duration, max_seconds)
        return samples, recording.sample_rate


def decode(
    recording: decoder.Recording,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = math.inf,
) -> np.ndarray:
    """Decodes samples of a recording that is open.

    Arguments and errors are those of `load`.

    Returns:
        float32 mono `[samples]`, channels averaged.
    """
    rate = recording.sample_rate
    start = round(offset * rate)
    stop = math.inf
    if duration is not None:
        stop = start + round(duration * rate)
    if start < 0:
        raise rejections.UnusableError(
            "offset outside of the audio file", f"{offset:g} s"
        )
    if stop <= start:
        raise rejections.UnusableError(
            "zero length", f"duration {duration:g} s"
        )
    mono = _stretch(recording, start, stop, max_seconds)
    limits.check(mono, rate)
    return mono


def read(
    source: str | bytes,
    sample_rate: int,
    offset: float = 0.0,
    duration: float | None = None,
    max_seconds: float = math.inf,
) -> np.ndarray:
    """Decodes, and resamples to the rate that is asked for.

    Arguments and errors are those of `load`; nothing left after resampling is
    an error, too.

    Returns:
        float32 mono `[samples]`, contiguous.
    """
    samples, own_rate = load(source, offset, duration, max_seconds)
    if own_rate != sample_rate:
        samples = soxr.resample(samples, own_rate, sample_rate)
    if not len(samples):
        raise rejections.UnusableError(
            "no samples in the audio file", where=decoder.name_of(source)
        )
    return np.ascontiguousarray(samples, dtype=np.float32)


def blocks(
    path: str, block_seconds: float
) -> abc.Iterator[tuple[np.ndarray, int, bool]]:
    """A recording of any length, in blocks of so many seconds or more.

    Yields:
        float32 mono `[samples]`, the sample rate, and whether it is the last.

    Raises:
        UnusableError: it cannot be decoded, or is cut off, which may turn out
            after the first blocks.
    """
    with decoder.opened(path) as recording:
        queue, end, rate = av.AudioFifo(), 0, recording.sample_rate
        for position, frame in recording.frames():
            end = position + frame.samples
            _write(queue, frame)
            if queue.samples >= block_seconds * rate:
                yield _mono(_channels(queue)), rate, False
        recording.end(end)
        yield _mono(_channels(queue)), rate, True


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Plays samples faster, pitch included (Ko et al., Interspeech 2015).

    Args:
        samples: float32 `[samples]`.
        factor: 1.1 is 10 % faster and shorter; 1 returns the input itself.

    Raises:
        ValueError: `factor` is not a positive number.
    """
    if not (isinstance(factor, (int, float)) and 0 < factor < math.inf):
        raise ValueError(
            f"speed factor must be a positive number. Received: {factor!r}"
        )
    if factor == 1:
        return samples
    return soxr.resample(samples, float(factor), 1.0)


def check_stretch(start: float, stop: float, end: float, rate: int = 1) -> None:
    """Raises unless a recording holds a stretch.

    Args:
        start, stop: the stretch; infinity stops where the recording ends.
        end: the recording's length.
        rate: how many of these units a second has.

    Raises:
        UnusableError: it begins after the recording, or ends after it.
    """
    length = f"in a file of {end / rate:.2f} s"
    if start >= end:
        raise rejections.UnusableError(
            "offset outside of the audio file", f"{start / rate:g} s {length}"
        )
    if end + truncation.TOLERANCE_SECONDS * rate < stop < math.inf:
        raise rejections.UnusableError(
            "end outside of the audio file", f"{stop / rate:.2f} s {length}"
        )


def _stretch(
    recording: decoder.Recording, start: int, stop: float, max_seconds: float
) -> np.ndarray:
    """Samples `start` to `stop` as float32 mono: `[samples]`."""
    # One array for many frames: most of them have a hundredth of a second.
    queue, parts, first, end = av.AudioFifo(), [], None, 0
    for position, frame in recording.frames(start):
        end = position + frame.samples
        if end > start:
            first = position if first is None else first
            _write(queue, frame)
            if queue.samples >= _MAX_QUEUED_SAMPLES:
                parts.append(_mono(_channels(queue)))
        if min(end, stop) - start > max_seconds * recording.sample_rate:
            raise rejections.UnusableError(
                TOO_LONG, f"over {max_seconds:g} s; {HOW_TO_SPLIT}"
            )
        if end >= stop:
            break
    else:
        end = recording.end(end)
        check_stretch(start, stop, end, recording.sample_rate)
    first = first or 0
    samples = _mono(_channels(queue))
    if parts:
        samples = np.concatenate([*parts, samples])
    return samples[max(0, start - first) : min(stop, end) - first]


def _write(queue: av.AudioFifo, frame: av.AudioFrame) -> None:
    # The queue would look for gaps between frames.
    frame.pts = None
    try:
        queue.write(frame)
    except ValueError:
        raise rejections.UnusableError(
            "audio is damaged", "its format changes within it"
        ) from None


def _channels(queue: av.AudioFifo) -> np.ndarray:
    frame = queue.read()
    if frame is None:
        return np.zeros((1, 0), np.float32)
    samples = frame.to_ndarray()
    if frame.format.is_planar:
        return samples
    return samples.reshape(-1, frame.layout.nb_channels).T


def _mono(samples: np.ndarray) -> np.ndarray:
    """`[channels, samples]` of any type to `[samples]` float32."""
    if samples.dtype.kind in "iu":
        # A power of two: exact for all that float32 can hold.
        scale = np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
        unsigned = samples.dtype.kind == "u"
        samples = samples.astype(np.float32) * scale
        if unsigned:
            samples -= 1
    samples = samples.astype(np.float32, copy=False)
    # An average in float64 would be exact, but one channel is the usual case.
    return samples[0] if len(samples) == 1 else samples.mean(axis=0)
