"""The manifest: one JSON object a line, one utterance a line, as in NeMo.

    {"audio_filepath": "a/0001.wav", "text": "turn on the lights",
     "speaker": "ann", "duration": 1.9, "offset": 0.0, "utt_id": "0001",
     "split": "train", "session": "", "mic": "", "severity": "moderate",
     "etiology": "", "simulated": false}

`audio_filepath`, `text` and `speaker` are required. Relative paths are
relative to the manifest's folder. Keys that are not listed here are ignored.
"""

import collections
import concurrent.futures
import dataclasses
import io
import json
import os

import numpy as np
import tqdm

from tasks.asr.data import audio, decoder, file_set, manifest_line, rejections

Rejection = rejections.Rejection
Rejections = rejections.Rejections
Utterance = manifest_line.Utterance

# Below one step of 16-bit audio at any useful gain: digital silence.
SILENCE_PEAK = 1e-4
# An utterance has at least one frame of any front end.
_MIN_SECONDS = 0.01
# Why a whole speaker is left out.
NOTHING_USABLE = "speaker has no usable utterance"


def read(path, strict=False):
    """Reads a manifest and looks at the header of every audio file.

    Args:
        path: the JSONL file, or its address in a bucket (`gs://`), where the
            recordings are records of shards.
        strict: refuse the manifest if any line of it is unusable.

    Returns:
        the usable utterances, in the file's order, and `Rejections`.

    Raises:
        OSError: there is no such file.
        ValueError: nothing in it is usable; or `strict` and something is not.
    """
    path = os.fspath(path)
    local = "://" not in path
    folder, name = os.path.split(os.path.abspath(path) if local else path)
    left_out = Rejections()
    places, utterances = [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            utterance = manifest_line.parse(line, folder)
        except rejections.UnusableError as error:
            left_out.add(place, "", error.reason, error.detail)
            continue
        places.append(place)
        utterances.append(utterance)
    if not places and not left_out:
        raise ValueError(f"manifest {path} is empty")
    usable = measure(places, _with_ids(utterances), left_out)
    if strict:
        left_out.raise_if_any(f"manifest {path}")
    if not usable:
        raise ValueError(
            f"manifest {path} has no usable utterance: {left_out.summary()}"
        )
    name_lost(path, utterances, usable, left_out)
    return usable, left_out


def name_lost(path, before, after, left_out):
    """Leaves out by name who had utterances before and has none after.

    Args:
        path: the manifest.
        before, after: `Utterance` values.
        left_out: `Rejections`, which grows.
    """
    lost = {each.speaker for each in before} - {each.speaker for each in after}
    for speaker in sorted(lost):
        left_out.add(path, speaker, NOTHING_USABLE)


def write(path, utterances):
    """Writes a manifest; it appears complete or not at all.

    Args:
        path: the JSONL file. Audio below its folder gets a relative path, so
            that the folder can be moved.
        utterances: `Utterance` values.

    Raises:
        OSError: the file cannot be written.
    """
    file_set.write({path: dumps(utterances, os.path.dirname(path))})


def dumps(utterances, folder):
    """The text of a manifest that is to lie in `folder`."""
    folder = os.path.abspath(folder or ".")
    return "".join(
        json.dumps(manifest_line.record(each, folder), ensure_ascii=False)
        + "\n"
        for each in utterances
    )


def measure(places, utterances, left_out, progress="Reading headers"):
    """Fills in durations from the audio headers and drops what is unusable.

    Args:
        places: where each utterance was found, for the account.
        utterances: `Utterance` values; duration 0 means to the file's end.
        left_out: `Rejections`, which grows.
        progress: label of the progress bar.

    Returns:
        the usable utterances, in order.
    """
    found = _headers([each.audio_filepath for each in utterances], progress)
    first_places, usable = {}, []
    for place, utterance in zip(places, utterances, strict=True):
        key = (utterance.speaker, utterance.utt_id)
        try:
            if key in first_places:
                raise rejections.UnusableError(
                    "duplicate utt_id of one speaker",
                    f"speaker {utterance.speaker}, as {first_places[key]}",
                )
            utterance = _measured(utterance, found[utterance.audio_filepath])
        except rejections.UnusableError as error:
            left_out.add(place, utterance.utt_id, error.reason, error.detail)
            continue
        first_places[key] = place
        usable.append(utterance)
    return usable


def check_audio(utterances, max_seconds, num_threads=8):
    """Reads the samples of every utterance, so that training need not fail.

    Args:
        utterances: `Utterance` values.
        max_seconds: the longest utterance that the base model takes.
        num_threads: files read at the same time.

    Returns:
        the usable utterances, in order, and `Rejections`: too long, damaged,
        truncated, NaN, silence from start to end.
    """
    left_out, usable = Rejections(), []
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        faults = pool.map(lambda each: _fault(each, max_seconds), utterances)
        bar = tqdm.tqdm(
            zip(utterances, faults, strict=True),
            "Checking audio",
            len(utterances),
            unit="utt",
            delay=1.0,
        )
        for utterance, fault in bar:
            if fault is None:
                usable.append(utterance)
            else:
                left_out.add(utterance.audio_filepath, utterance.utt_id, *fault)
    return usable, left_out


def _fault(utterance, max_seconds):
    if utterance.duration > max_seconds:
        length = f"{utterance.duration:.2f} s, at most {max_seconds:g} s"
        return "longer than the base model takes", length
    # At another rate nothing may be left of it.
    if utterance.duration < _MIN_SECONDS:
        length = f"{utterance.duration:g} s, at least {_MIN_SECONDS:g} s"
        return "too short to hear anything", length
    try:
        samples, _ = audio.load(
            utterance.audio_filepath, utterance.offset, utterance.duration
        )
    except rejections.UnusableError as error:
        return error.reason, error.detail
    # Silence with a constant offset is silence.
    if np.ptp(samples) < 2 * SILENCE_PEAK:
        return "silence from start to end", ""
    return None


def _lines(path):
    with _opened(path) as file:
        for number, line in enumerate(file):
            # Windows editors put a byte order mark before the first line.
            yield line.removeprefix(b"\xef\xbb\xbf") if not number else line


def _opened(path):
    if "://" in path:
        # Loads TensorFlow, which takes seconds that local files need not.
        from lingvo_like import files

        return io.BytesIO(files.read(path))
    if not os.path.exists(path):
        raise FileNotFoundError(f"manifest {path} does not exist")
    if not os.path.isfile(path):
        raise ValueError(f"manifest {path} is not a file")
    return open(path, "rb")


def _with_ids(utterances):
    """Names the nameless after their files; alike names get the folder's."""
    names = collections.defaultdict(set)
    for each in utterances:
        if not each.utt_id:
            names[each.speaker, _stem(each)].add(each.audio_filepath)
    named = []
    for each in utterances:
        if not each.utt_id:
            stem = _stem(each)
            if len(names[each.speaker, stem]) > 1:
                folder = os.path.dirname(each.audio_filepath)
                stem = f"{os.path.basename(folder)}-{stem}"
            each = dataclasses.replace(each, utt_id=stem)
        named.append(each)
    return named


def _stem(utterance):
    stem = os.path.splitext(os.path.basename(utterance.audio_filepath))[0]
    if not utterance.offset:
        return stem
    return f"{stem}-{round(utterance.offset * 1000):07d}"


def _headers(paths, progress):
    """A dict of each path to its seconds or its error."""
    distinct = list(dict.fromkeys(paths))

    def look(path):
        try:
            return audio.seconds(path)
        except rejections.UnusableError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = pool.map(look, distinct)
        bar = tqdm.tqdm(
            results, progress, len(distinct), unit="file", delay=1.0
        )
        return dict(zip(distinct, bar, strict=True))


def _measured(utterance, found):
    if isinstance(found, rejections.UnusableError):
        raise rejections.UnusableError(
            found.reason,
            " ".join([utterance.audio_filepath, found.detail]).strip(),
        )
    left = found - utterance.offset
    if left <= 0:
        raise rejections.UnusableError(
            "offset outside of the audio file",
            f"{utterance.offset:g} s in a file of {found:.2f} s",
        )
    if utterance.duration > left + decoder.TOLERANCE_SECONDS:
        raise rejections.UnusableError(
            "end outside of the audio file",
            f"{utterance.offset + utterance.duration:.2f} s in a file of "
            f"{found:.2f} s",
        )
    duration = min(utterance.duration or left, left)
    return dataclasses.replace(utterance, duration=duration)
