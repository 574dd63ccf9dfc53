"""Reading audio files: WAV, FLAC, Ogg and MP3, at any rate.

Decoding is libsndfile's (through soundfile), resampling is libsoxr's. Every
failure is an `AudioError` that names the file and what is wrong with it.

Wherever a path is taken, `shard-00000.tfrecord#1234` is the audio file that is
a record of a TFRecord file (`tasks.pack_shards` makes them).
"""

import contextlib
import dataclasses
import io
import math
import os
import re

import numpy as np
import soundfile
import soxr

from tasks.asr.data import tfrecord

# A manifest rounds its seconds; an end this far past the file's is the file's.
TOLERANCE_SECONDS = 0.05

# Enough of a FLAC file for its header, which stands at its beginning.
_FLAC_HEADER_BYTES = 1024
_CHUNK_LENGTH = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_CUT_OGG = re.compile(r"^Ogg ?: (Junk after|File ended unexp)", re.MULTILINE)
# What programs that write to a pipe leave as the length that they cannot know.
_UNKNOWN_LENGTHS = range(0x7FFFFF00, 0x100000000)


class AudioError(ValueError):
    """A file whose audio cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong in general, the same words for the same fault.
        detail: what is wrong with this very file, or "".
    """

    def __init__(self, path, reason, detail=""):
        super().__init__(
            f"{path}: {reason}" + (f": {detail}" if detail else "")
        )
        self.path = path
        self.reason = reason
        self.detail = detail


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of itself before its samples are decoded."""

    num_frames: int
    sample_rate: int
    num_channels: int

    @property
    def seconds(self):
        return self.num_frames / self.sample_rate


def header(path):
    """Reads the header alone.

    Args:
        path: a WAV, FLAC, Ogg or MP3 file, or a record that holds one.

    Returns:
        a `Header` with at least one frame.

    Raises:
        AudioError: the file is missing, is not audio, holds no samples, or
            is shorter than its own header promises.
    """
    source = _source(path, _FLAC_HEADER_BYTES)
    if isinstance(source, bytes):
        # Longer metadata than that is rare, and read in full below.
        with contextlib.suppress(AudioError):
            if source.startswith(b"fLaC"):
                return _header(path, source)
        source = _source(path)
    return _header(path, source)


def seconds(path):
    """Length of a file in seconds, from its header. Raises AudioError."""
    return header(path).seconds


def load(path, offset=0.0, duration=None):
    """Reads samples at the file's own rate.

    Args:
        path: a WAV, FLAC, Ogg or MP3 file, or a record that holds one.
        offset: seconds to skip.
        duration: seconds to read; None reads to the end.

    Returns:
        float32 mono `[samples]`, channels averaged, and the sample rate.

    Raises:
        AudioError: the file cannot be read, has no samples there, ends before
            `offset + duration`, or holds samples that are not finite.
    """
    source = _source(path)
    found = _header(path, source)
    start = round(offset * found.sample_rate)
    if start < 0 or start >= found.num_frames:
        raise AudioError(
            path,
            "offset outside of the audio file",
            f"{offset:g} s in a file of {found.seconds:.2f} s",
        )
    wanted = found.num_frames - start
    if duration is not None:
        wanted = min(wanted, _num_wanted(path, found, start, duration))
    try:
        with soundfile.SoundFile(_file(source)) as file:
            file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, "audio is damaged", _plain(error)) from None
    if len(samples) < wanted:
        raise AudioError(
            path,
            "audio is truncated",
            f"{wanted} samples promised, {len(samples)} there",
        )
    # An average in float64 would be exact, but one channel is the usual case.
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(
            path,
            "samples that are not numbers (NaN or infinite)",
            f"{np.count_nonzero(~np.isfinite(mono))} of {len(mono)}",
        )
    return mono, found.sample_rate


def read(path, sample_rate, offset=0.0, duration=None):
    """Reads audio at the rate that is asked for.

    Args:
        path: a WAV, FLAC, Ogg or MP3 file of any rate and channel count.
        sample_rate: samples per second of the result.
        offset: seconds to skip.
        duration: seconds to read; None reads to the end.

    Returns:
        float32 mono `[samples]`, contiguous.

    Raises:
        AudioError: as `load`, or nothing is left after resampling.
    """
    samples, own_rate = load(path, offset, duration)
    if own_rate != sample_rate:
        samples = soxr.resample(samples, own_rate, sample_rate)
    if not len(samples):
        raise AudioError(path, "no samples in the audio file")
    return np.ascontiguousarray(samples, dtype=np.float32)


def change_speed(samples, factor):
    """Plays samples faster, pitch included (Ko et al., Interspeech 2015).

    Args:
        samples: float32 `[samples]`.
        factor: 1.1 is 10 % faster and shorter; 1.0 changes nothing.

    Returns:
        float32 `[samples / factor]`; the input itself when `factor` is 1.

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


def _source(path, max_bytes=None):
    """What to decode: `path` itself, or a record's first `max_bytes`."""
    place = tfrecord.parse(path)
    if place is None:
        _check_file(path)
        return path
    try:
        return tfrecord.read(*place, max_bytes)
    except tfrecord.RecordError as error:
        raise AudioError(path, error.reason, error.detail) from None


def _file(source):
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _header(path, source):
    try:
        info = soundfile.info(_file(source), verbose=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, "not readable as audio", _plain(error)) from None
    _check_length(path, info)
    if info.frames <= 0:
        raise AudioError(path, "no samples in the audio file")
    return Header(info.frames, info.samplerate, info.channels)


def _check_file(path):
    if "://" in path:
        # One request for each header and each recording would take hours.
        raise AudioError(
            path, "not a record of a shard", "tasks.pack_shards makes them"
        )
    if not os.path.exists(path):
        raise AudioError(path, "audio file is missing")
    if not os.path.isfile(path):
        raise AudioError(path, "not a file")
    if not os.access(path, os.R_OK):
        raise AudioError(path, "audio file may not be read (permissions)")
    if not os.path.getsize(path):
        raise AudioError(path, "audio file is empty (0 bytes)")


def _check_length(path, info):
    # libsndfile repairs a short WAV silently and only says so in its log.
    chunk = _CHUNK_LENGTH.search(info.extra_info)
    if chunk:
        promised, there = int(chunk[1]), int(chunk[2])
        if there < promised and promised not in _UNKNOWN_LENGTHS:
            raise AudioError(
                path,
                "audio is truncated",
                f"{promised} bytes of samples promised, {there} there",
            )
    # Ogg has no length in its header; a cut inside of a page leaves this.
    if _CUT_OGG.search(info.extra_info):
        raise AudioError(path, "audio is truncated", "it ends within a page")


def _num_wanted(path, found, start, duration):
    wanted = round(duration * found.sample_rate)
    if wanted <= 0:
        raise AudioError(path, "zero length", f"duration {duration:g} s")
    slack = TOLERANCE_SECONDS * found.sample_rate
    if start + wanted > found.num_frames + slack:
        raise AudioError(
            path,
            "end outside of the audio file",
            f"{(start + wanted) / found.sample_rate:.2f} s in a file of "
            f"{found.seconds:.2f} s",
        )
    return wanted


def _plain(error):
    # soundfile puts the path first, which AudioError already names.
    return str(error).rpartition(": ")[2].rstrip(". ")
