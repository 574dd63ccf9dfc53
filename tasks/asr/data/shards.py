"""Packs recordings into TFRecord shards, exactly as they sound.

A corpus of a million small files takes longer to open than to read. Here each
recording is one record of a few large files, and a manifest's `audio_filepath`
is the record's address (see tfrecord.py): the manifest stays the one index of
everything, and what reads audio files reads records too.

A record is an audio file of its own, cut to the utterance, at its own rate:
FLAC of one channel where FLAC holds the samples exactly (all that comes from 16
or 24 bits), else the file as it was if the utterance is all of it (MP3, Ogg),
else WAV of floats. Where space is cheaper than processors, WAV takes the place
of FLAC: the same samples, larger, and sooner decoded.
"""

import concurrent.futures
import contextlib
import dataclasses
import io
import math
import os
import pathlib
import typing
from collections import abc

import numpy as np
import soundfile
import tqdm

from tasks.asr.data import audio, manifest, rejections, tfrecord

# Utterances that wait for their turn in a shard, all of them in memory.
_AT_ONCE = 64
_NUM_THREADS = 8
# Seconds in a manifest have four digits.
_MANIFEST_STEP = 1e-4

# Samples of 16 or 24 bits are kept in one of these.
CONTAINERS = ("FLAC", "WAV")

# A path, an offset and a duration.
_Cut: typing.TypeAlias = tuple[str, float, float]
# A record's address and its duration, or why there is none.
_Result: typing.TypeAlias = tuple[str, float] | rejections.UnusableError


@dataclasses.dataclass(frozen=True)
class Packed:
    """The utterances of each part, in order, and figures of all shards."""

    utterances: dict[str, list[manifest.Utterance]]
    left_out: dict[str, rejections.Rejections]
    num_shards: int
    num_records: int
    num_bytes: int
    seconds: float


def pack(
    parts: abc.Mapping[str, abc.Sequence[manifest.Utterance]],
    folder: str | os.PathLike,
    max_bytes: int,
    container: str = "FLAC",
) -> Packed:
    """Writes shards and points utterances to their records.

    A recording that several utterances or parts name with the same offset and
    duration is packed once.

    Args:
        parts: names and their utterances, as `inspection.read` returns them.
        folder: where shard-00000.tfrecord and so on are written.
        max_bytes: a shard's greatest size; a longer recording gets a shard of
            its own.
        container: one of `CONTAINERS`.

    Returns:
        utterances that read the same samples as those of `parts`.
    """
    cuts = dict.fromkeys(_cut(each) for part in parts.values() for each in part)
    with contextlib.closing(_Shards(folder, max_bytes)) as shards:
        results = _write(list(cuts), shards, container)
    utterances, left_out = {}, {}
    for name, part in parts.items():
        utterances[name], left_out[name] = [], rejections.Rejections()
        for each in part:
            result, path = results[_cut(each)], each.audio_filepath
            if isinstance(result, rejections.UnusableError):
                left_out[name].add(
                    path, each.utt_id, result.reason, result.detail
                )
                continue
            path, duration = result
            utterances[name].append(
                dataclasses.replace(
                    each, audio_filepath=path, offset=0.0, duration=duration
                )
            )
    packed = [each for each in results.values() if isinstance(each, tuple)]
    return Packed(
        utterances=utterances,
        left_out=left_out,
        num_shards=shards.num_shards,
        num_records=len(packed),
        num_bytes=shards.total_bytes,
        seconds=sum(duration for _, duration in packed),
    )


def encode(
    path: str,
    offset: float = 0.0,
    duration: float | None = None,
    container: str = "FLAC",
) -> tuple[bytes, float]:
    """One recording as the bytes of an audio file.

    Path, offset, duration and errors are those of `audio.load`.

    Returns:
        the bytes, and the duration by which a manifest's line gets from them
        exactly the samples that `audio.load` gets from `path`.
    """
    samples, sample_rate = audio.load(path, offset, duration)
    steps = len(samples) / sample_rate / _MANIFEST_STEP
    # Rounded up it reads to the record's end; rounded down, not quite.
    to_the_end = math.ceil(round(steps, 6)) * _MANIFEST_STEP
    data = _whole_numbers(samples, sample_rate, container)
    if data is not None:
        return data, to_the_end
    if not offset:
        missing = round(audio.seconds(path) * sample_rate) - len(samples)
        whole = _own_bytes(path)
        if not missing and _decodes_to(whole, samples):
            return whole, to_the_end
        # What a manifest's rounding cuts off is not worth a file of floats.
        is_rounded = duration is not None and duration == round(duration, 4)
        if is_rounded and missing <= _MANIFEST_STEP * sample_rate:
            if _decodes_to(whole, samples):
                return whole, duration or to_the_end
    return _bytes(samples, sample_rate, "WAV", "FLOAT"), to_the_end


class _Shards:
    """The files, one after the other."""

    def __init__(self, folder: str | os.PathLike, max_bytes: int) -> None:
        self._folder = pathlib.Path(folder)
        self._max_bytes = max_bytes
        self._file = None
        self._shard_bytes = 0
        self.num_shards = 0
        self.total_bytes = 0

    def add(self, data: bytes) -> str:
        """The address of a new record."""
        record = tfrecord.framed(data)
        full = self._shard_bytes + len(record) > self._max_bytes
        if self._file is None or (full and self._shard_bytes):
            self.close()
            name = f"shard-{self.num_shards:05d}.tfrecord"
            self._file = open(self._folder / name, "xb")
            self._shard_bytes = 0
            self.num_shards += 1
        address = tfrecord.address(self._file.name, self._shard_bytes)
        self._file.write(record)
        self._shard_bytes += len(record)
        self.total_bytes += len(record)
        return address

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _cut(utterance: manifest.Utterance) -> _Cut:
    return utterance.audio_filepath, utterance.offset, utterance.duration


def _write(
    cuts: list[_Cut], shards: _Shards, container: str
) -> dict[_Cut, _Result]:
    def attempt(cut: _Cut) -> tuple[bytes, float] | rejections.UnusableError:
        try:
            return encode(*cut, container=container)
        except rejections.UnusableError as error:
            return error

    results = {}
    with (
        concurrent.futures.ThreadPoolExecutor(_NUM_THREADS) as pool,
        tqdm.tqdm(
            total=len(cuts), desc="Packing audio", unit="utt", delay=1.0
        ) as bar,
    ):
        # In portions: a pool runs ahead of the disk and would fill the memory.
        for start in range(0, len(cuts), _AT_ONCE):
            portion = cuts[start : start + _AT_ONCE]
            encoded = pool.map(attempt, portion)
            for cut, result in zip(portion, encoded, strict=True):
                if not isinstance(result, rejections.UnusableError):
                    data, duration = result
                    result = shards.add(data), duration
                results[cut] = result
                bar.update()
    return results


def _whole_numbers(
    samples: np.ndarray, sample_rate: int, container: str
) -> bytes | None:
    """A file of 16 or else 24 bits; None if neither holds them exactly."""
    for bits, dtype in (16, np.int16), (24, np.int32):
        # A power of two: exact.
        steps = samples * np.float32(2 ** (bits - 1))
        if steps.min() < -(2 ** (bits - 1)) or steps.max() >= 2 ** (bits - 1):
            return None
        if not np.array_equal(steps, np.rint(steps)):
            continue
        whole = steps.astype(dtype)
        if bits == 24:
            # libsndfile takes the upper 24 of 32 bits.
            whole = whole << 8
        try:
            return _bytes(whole, sample_rate, container, f"PCM_{bits}")
        except soundfile.SoundFileError:
            return None  # FLAC does not know every sample rate
    return None


def _bytes(
    samples: np.ndarray, sample_rate: int, container: str, subtype: str
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, sample_rate, format=container, subtype=subtype
    )
    return buffer.getvalue()


def _own_bytes(path: str) -> bytes:
    if place := tfrecord.parse(path):
        return tfrecord.read(*place)
    return pathlib.Path(path).read_bytes()


def _decodes_to(data: bytes, samples: np.ndarray) -> bool:
    """Whether the bytes alone, with no file name to help, are the samples."""
    try:
        decoded, _ = audio.load(data)
    except rejections.UnusableError:
        return False
    return np.array_equal(decoded[: len(samples)], samples)
