"""Utterances of a given length, from recordings or simulated speech."""

import collections

import numpy as np

from tasks.asr.data import audio, inspection
from tests.benchmarks import jobs

SAMPLE_RATE = 16000
PAUSE_SECONDS = 0.15


def recordings(manifest_path, work_dir):
    """Speakers' recordings, for `cut`.

    Args:
        manifest_path: str; empty simulates some typical speech in `work_dir`.
        work_dir: `pathlib.Path`.

    Returns:
        list, by speaker, of lists of `[samples]` float32 arrays.
    """
    if not manifest_path:
        folder = jobs.simulate(
            str(work_dir / "speech"),
            num_speakers=4,
            severities="typical",
            utterances_per_speaker=24,
            seed=5,
            split="false",
        )
        manifest_path = str(folder / "manifest.jsonl")
    utterances, _ = inspection.read(manifest_path)
    by_speaker = collections.defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(
            audio.read(
                utterance.audio_filepath,
                SAMPLE_RATE,
                utterance.offset,
                utterance.duration,
            )
        )
    return list(by_speaker.values())


def cut(speakers, seconds, count):
    """Utterances of exactly this length, each of one speaker.

    Recordings are joined with a short pause and cut; no two utterances have
    the same samples while there is enough to draw from.

    Args:
        speakers: what `recordings` gave.
        seconds: float.
        count: int.

    Returns:
        list of `count` arrays `[seconds * SAMPLE_RATE]` float32.
    """
    length = round(seconds * SAMPLE_RATE)
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    tracks = []
    for recorded in speakers:
        parts = [part for each in recorded for part in (each, pause)]
        track = np.concatenate(parts)
        repeats = -(-length // len(track))
        tracks.append(np.tile(track, max(repeats, 1)))
    starts = [0] * len(tracks)
    found = []
    for number in range(count):
        place = number % len(tracks)
        if starts[place] + length > len(tracks[place]):
            starts[place] = 0
        start = starts[place]
        found.append(np.array(tracks[place][start : start + length]))
        starts[place] = start + length
    return found
