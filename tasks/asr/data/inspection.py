"""Looks at the recordings behind a manifest, before anything relies on them.

`read` takes their lengths, which is all that importing, splitting and packing
need. With `Decoding` it decodes every utterance, so that hours of training do
not end at a damaged file.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import importlib
import math
import os
import typing
from collections import abc

import numpy as np
import tqdm

from lingvo_like import files
from tasks.asr.data import (
    audio,
    check_cache,
    decoder,
    languages,
    manifest,
    rejections,
    silence,
    speaker_ids,
)

# Why a whole speaker is left out.
NOTHING_USABLE = "speaker has no usable utterance"
# Decoding releases Python's lock. Buckets answer slowly, so more than one
# request waits for them even on a small machine.
_NUM_THREADS = max(8, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Settings by which utterances are decoded and checked.

    Attributes:
        max_seconds: the longest utterance that the base model takes.
        trim_silence: leave out the silence before and after each utterance.
        checks_folder: folder that keeps the results for the next start, beside
            the run for example; None keeps nothing.
    """

    max_seconds: float
    trim_silence: bool = False
    checks_folder: str | None = None


def read(
    path: str | os.PathLike,
    strict: bool = False,
    decoding: Decoding | None = None,
    any_ids: bool = False,
    spoken: languages.Spoken | None = None,
) -> tuple[list[manifest.Utterance], rejections.Rejections]:
    """Reads a manifest's usable utterances, and what is left out.

    Args:
        path: the JSONL file, or its address in a bucket (`gs://`), where the
            recordings are records of shards; or several with commas between.
        strict: refuse the manifest if any line of it is unusable.
        decoding: decode every utterance; None looks at lengths alone.
        any_ids: take speaker ids that no store takes, too.
        spoken: gives every utterance its language; None leaves it as it is.

    Raises:
        OSError: there is no such file.
        ValueError: nothing in it is usable; `strict` and something is not; a
            speaker's id cannot be published; the base model does not know an
            utterance's language; or `decoding` trims silence and the package
            for it is missing.
    """
    lines = manifest.read_lines(path)
    if not any_ids:
        speaker_ids.check(lines.places, lines.utterances)
    if spoken is not None:
        spoken.resolve(lines)
    left_out = lines.left_out
    paths = (each.audio_filepath for each in lines.utterances)
    if not all(map(files.is_local, paths)):
        # Here, and not in several threads at the same time.
        importlib.import_module("tensorflow")
    if decoding is None:
        usable = measure(lines)
    else:
        usable = _usable(lines, _decode_all(lines.utterances, decoding))
    if strict:
        left_out.raise_if_any(f"manifest {path}")
    if not usable:
        raise ValueError(
            f"manifest {path} has no usable utterance: {left_out.summary()}"
        )
    name_lost(path, lines.utterances, usable, left_out)
    return usable, left_out


def name_lost(
    path: str | os.PathLike,
    before: abc.Iterable[manifest.Utterance],
    after: abc.Iterable[manifest.Utterance],
    left_out: rejections.Rejections,
) -> None:
    """Adds speakers who are in `before` and not in `after` to `left_out`."""
    lost = {each.speaker for each in before} - {each.speaker for each in after}
    for speaker in sorted(lost):
        left_out.add(os.fspath(path), speaker, NOTHING_USABLE)


def measure(lines: manifest.Lines) -> list[manifest.Utterance]:
    """The usable utterances, in order, with their durations.

    A duration of 0 means to the end of the recording. What is unusable is added
    to `lines.left_out`.
    """
    paths = list(dict.fromkeys(u.audio_filepath for u in lines.utterances))
    measured = _in_parallel(_seconds, paths, "Measuring")
    found = dict(zip(paths, measured, strict=True))
    results = [_measured(u, found[u.audio_filepath]) for u in lines.utterances]
    return _usable(lines, results)


def _remark_on_rests(
    usable: abc.Iterable[manifest.Utterance],
    left_out: rejections.Rejections,
) -> None:
    """Remarks on recordings of which only a small first part is used."""
    by_path = collections.defaultdict(list)
    for each in usable:
        by_path[each.audio_filepath].append(each)
    for path, (first, *others) in by_path.items():
        # Several utterances of one recording are cuts that somebody made.
        whole = first.recording_seconds
        rest = whole - first.duration
        if others or first.offset or rest < max(1.0, first.duration):
            continue
        left_out.remark(
            path,
            first.utt_id,
            "its `duration` is much shorter than the recording",
            f"{first.duration:.2f} s of {whole:.2f} s are used",
        )


def _usable(
    lines: manifest.Lines, results: abc.Iterable[check_cache.Result]
) -> list[manifest.Utterance]:
    first, usable = {}, []
    for place, utterance, result in zip(
        lines.places, lines.utterances, results, strict=True
    ):
        key = (utterance.speaker, utterance.utt_id)
        if key in first:
            before, path = first[key]
            detail = f"speaker {utterance.speaker}, as {before}"
            if path != utterance.audio_filepath:
                detail += ", of another recording: give it another utt_id"
            result = rejections.UnusableError(
                "duplicate utt_id of one speaker", detail
            )
        if isinstance(result, rejections.UnusableError):
            lines.left_out.add(
                place, utterance.utt_id, result.reason, result.described
            )
        else:
            first[key] = (place, utterance.audio_filepath)
            usable.append(result)
    _remark_on_rests(usable, lines.left_out)
    return usable


def _in_parallel(
    function: abc.Callable, items: abc.Sequence, label: str
) -> list[typing.Any]:
    """The function's results in order, with a progress bar on a terminal."""
    with concurrent.futures.ThreadPoolExecutor(_NUM_THREADS) as pool:
        return list(
            tqdm.tqdm(
                pool.map(function, items),
                label,
                len(items),
                unit="recording",
                delay=1.0,
                disable=None,
            )
        )


def _seconds(path: str) -> float | rejections.UnusableError:
    try:
        return audio.seconds(path)
    except rejections.UnusableError as error:
        return error


def _measured(
    utterance: manifest.Utterance, found: float | rejections.UnusableError
) -> check_cache.Result:
    if isinstance(found, rejections.UnusableError):
        return found
    stop = utterance.offset + (utterance.duration or math.inf)
    try:
        audio.check_stretch(utterance.offset, stop, found)
    except rejections.UnusableError as error:
        return error
    left = found - utterance.offset
    duration = min(utterance.duration or left, left)
    return dataclasses.replace(
        utterance, duration=duration, recording_seconds=found
    )


def _decode_all(
    utterances: abc.Sequence[manifest.Utterance], decoding: Decoding
) -> list[check_cache.Result]:
    trim = silence.trimmer() if decoding.trim_silence else None
    kept = check_cache.KeptChecks(
        decoding.checks_folder, decoding.max_seconds, decoding.trim_silence
    )
    results = [kept.find(each) for each in utterances]
    new = [place for place, result in enumerate(results) if result is None]
    found = _in_parallel(
        functools.partial(_decoded, decoding.max_seconds, trim),
        [utterances[place] for place in new],
        "Checking recordings",
    )
    for place, result in zip(new, found, strict=True):
        results[place] = result
        kept.add(utterances[place], result)
    kept.save()
    return typing.cast(list[check_cache.Result], results)


def _decoded(
    max_seconds: float,
    trim: silence.Trimmer | None,
    utterance: manifest.Utterance,
) -> check_cache.Result:
    path, offset = utterance.audio_filepath, utterance.offset
    too_long = "longer than the base model takes"
    if utterance.duration > max_seconds:
        length = (
            f"{utterance.duration:.2f} s, at most {max_seconds:g} s; "
            f"{audio.HOW_TO_SPLIT}"
        )
        return rejections.UnusableError(too_long, length, path)
    try:
        with decoder.opened(path) as recording:
            rate = recording.sample_rate
            samples = audio.decode(
                recording, offset, utterance.duration or None, max_seconds
            )
            whole = 0.0
            if utterance.duration and not offset:
                whole = recording.header_seconds
    except rejections.UnusableError as error:
        if error.reason == audio.TOO_LONG:
            error.reason = too_long
        return error
    sha256 = _identity(samples, rate)
    duration = len(samples) / rate
    # A duration of the manifest's own stays as it is written there.
    if round(utterance.duration * rate) == len(samples):
        duration = utterance.duration
    if trim is not None:
        start, stop = trim(samples, rate)
        if stop - start < len(samples):
            offset = (round(offset * rate) + start) / rate
            duration = (stop - start) / rate
            # What was trimmed is known.
            whole = 0.0
    return dataclasses.replace(
        utterance,
        offset=offset,
        duration=duration,
        recording_seconds=whole,
        sha256=sha256,
    )


def _identity(samples: np.ndarray, rate: int) -> str:
    """The SHA-256 by which speech is recognised in another file.

    Without what is beyond the last tenth of a second: a `duration` that is
    rounded in one manifest and missing in another may differ by a sample.
    """
    whole = len(samples) - len(samples) % max(1, rate // 10)
    data = np.ascontiguousarray(samples[: whole or None], dtype="<f4")
    return hashlib.sha256(data.tobytes()).hexdigest()
