"""How long a job takes to check its recordings, first and when it resumes.

    python -m tests.benchmarks.restart
    python -m tests.benchmarks.restart --utterances=1000

Two corpora of noise are written: small WAV files of one utterance each, and a
few long ones with many utterances. A first start decodes them all; a second one
reads what the first has kept beside the run. Times are wall-clock seconds of
`preparation.prepare` alone, without loading a base model.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import numpy as np
import soundfile

from params import conformer
from tasks.asr.data import manifest, preparation
from tests import tiny

SECONDS, RATE, SPEAKERS = 2.0, 16000, 100
PER_LONG_FILE = 500
TEXT = "turn on the light"


def corpus(folder: pathlib.Path, num_utterances: int, per_file: int) -> str:
    """Writes WAV files of `per_file` utterances each; returns the manifest."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    noise = 0.1 * draw.standard_normal(round(per_file * SECONDS * RATE))
    utterances = []
    for number in range(num_utterances):
        path = folder / f"{number // per_file}.wav"
        if number % per_file == 0:
            soundfile.write(path, np.roll(noise, number), RATE, "PCM_16")
        utterances.append(
            manifest.Utterance(
                audio_filepath=str(path),
                text=TEXT,
                speaker=f"s{number % SPEAKERS}",
                utt_id=str(number),
                duration=SECONDS,
                offset=number % per_file * SECONDS,
            )
        )
    manifest.write(folder / "train.jsonl", utterances)
    return str(folder / "train.jsonl")


def starts(path: str, folder: pathlib.Path) -> list[float]:
    """Seconds of two starts, one after the other."""
    base = tiny.base(buckets_seconds=(2.0,))
    folder.mkdir()
    result = []
    for _ in range(2):
        start = time.perf_counter()
        preparation.prepare(
            base, conformer.Tiny(), path, checks_folder=str(folder)
        )
        result.append(time.perf_counter() - start)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=10_000)
    num_utterances = parser.parse_args().utterances
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for title, per_file in (("small files", 1), ("long", PER_LONG_FILE)):
            path = corpus(root / title, num_utterances, per_file)
            rows[title] = starts(path, root / f"{title} run")
    print(
        f"{num_utterances} utterances of {SECONDS:g} s, {os.cpu_count()} cores"
    )
    print(f"{'':>12} {'first start':>12} {'second':>8}")
    for title, (first, second) in rows.items():
        print(f"{title:>12} {first:>10.2f} s {second:>6.2f} s")
    print(json.dumps({"utterances": num_utterances, "seconds": rows}))


if __name__ == "__main__":
    main()
