"""Seconds of recognising real speech: our Whisper and faster-whisper.

    python -m tests.benchmarks.recognition_speed [--short_base=FOLDER]
        [--model_dir=RUN --test_manifest=test.jsonl]

Both get the same weights and the same utterances, filled up with silence to
30 s, and go from samples to tokens by greedy search, in batches of each size.
Batch by batch they take turns, so that whatever else the machine does slows all
alike; each is warmed up before. faster-whisper computes in float32 and in int8,
ours in float32. Wall seconds decide, on a machine that does nothing else; CPU
seconds stand beside them. With `taskset -c 0` before the command each has one
core, and CPU seconds can be compared on a machine that is shared.
faster-whisper comes with the extra `test`.

--short_base adds our Whisper at its short audio context. --model_dir adds the
seconds of tasks.evaluate for a run, with --base as what it is compared with.
"""

import argparse
import collections
import json
import os
import pathlib
import time

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like.base_models.whisper import checkpoints, model as whisper
from tasks.asr.data import audio, inspection
from tests.benchmarks import jobs

COMPUTE_TYPES = ("float32", "int8")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--manifest", default="", help="else a fetched voice")
    parser.add_argument(
        "--base",
        default="tiny.en",
        help="an English-only CTranslate2 directory, or tiny.en",
    )
    parser.add_argument("--short_base", default="", help="short-context base")
    parser.add_argument("--model_dir", default="", help="run to evaluate")
    parser.add_argument("--test_manifest", default="", help="of that run")
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument(
        "--work_dir", default=f"{jobs.FOLDER}/recognition_speed"
    )
    return parser.parse_args()


def read(arguments, base):
    """The samples of utterances that are evenly spaced in the manifest."""
    manifest = arguments.manifest or str(
        jobs.fetch_recordings(pathlib.Path(arguments.work_dir))
        / "manifest.jsonl"
    )
    utterances, left_out = inspection.read(
        manifest, decoding=inspection.Decoding(base.seconds(base.max_samples))
    )
    print(left_out.describe(), end="")
    count = min(arguments.utterances, len(utterances))
    chosen = np.linspace(0, len(utterances) - 1, count).astype(int)
    return [
        audio.read(
            utterances[i].audio_filepath,
            base.sample_rate,
            utterances[i].offset,
            utterances[i].duration,
        )
        for i in chosen
    ]


class Ours:
    """A Whisper of this project: from recordings to token ids."""

    def __init__(self, base):
        self.base = base
        self.step = tf.function(
            self._recognise,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ],
        )

    def _recognise(self, samples, lengths):
        features, paddings = self.base.features(samples, lengths)
        return self.base.decode(*self.base.encode(features, paddings))

    def __call__(self, recordings):
        longest = max(len(recording) for recording in recordings)
        padded = np.zeros(
            (len(recordings), self.base.bucket_samples(longest)), np.float32
        )
        for row, recording in enumerate(recordings):
            padded[row, : len(recording)] = recording
        lengths = np.array([len(each) for each in recordings], np.int32)
        tokens, counts, *_ = self.step(padded, lengths)
        return [
            row[:count].tolist()
            for row, count in zip(tokens.numpy(), counts.numpy(), strict=True)
        ]


class Theirs:
    """faster-whisper's features, and the model behind it."""

    def __init__(self, faster_whisper, path, compute_type, base):
        self.whisper = faster_whisper.WhisperModel(
            str(path),
            device="cpu",
            compute_type=compute_type,
            cpu_threads=len(os.sched_getaffinity(0)),
        )
        self.base = base

    def __call__(self, recordings):
        frames = self.whisper.feature_extractor.nb_max_frames
        features = np.stack(
            [
                self.whisper.feature_extractor(
                    np.pad(each, (0, self.base.max_samples - len(each)))
                )[:, :frames]
                for each in recordings
            ]
        )
        tokenizer = self.base.tokenizer
        results = self.whisper.model.generate(
            self.whisper.encode(features),
            [list(map(int, tokenizer.prompts[0]))] * len(recordings),
            beam_size=1,
            suppress_tokens=tokenizer.suppressed,
        )
        return [result.sequences_ids[0] for result in results]


def compare(systems, recordings, size, title):
    """(wall, CPU) seconds and texts of each system, in turns."""
    seconds = {name: np.zeros(2) for name in systems}
    found = collections.defaultdict(list)
    batches = [
        recordings[i : i + size] for i in range(0, len(recordings), size)
    ]
    for system in systems.values():
        system(batches[0])
    for number, batch in enumerate(tqdm.tqdm(batches, title)):
        # Whoever comes after a system finds the caches that it left.
        order = list(systems)
        order = order[number % len(order) :] + order[: number % len(order)]
        for name in order:
            start = np.array([time.perf_counter(), time.process_time()])
            found[name] += systems[name](batch)
            end = np.array([time.perf_counter(), time.process_time()])
            seconds[name] += end - start
    return seconds, found


def main():
    arguments = parse_arguments()
    try:
        import faster_whisper
    except ImportError:
        raise SystemExit(
            "this benchmark needs faster-whisper; install it with: "
            "pip install -e '.[test]'"
        ) from None
    base = whisper.load(arguments.base)
    recordings = read(arguments, base)
    path = checkpoints.local_path(arguments.base)
    systems = {"ours": Ours(base)}
    for kind in COMPUTE_TYPES:
        systems[kind] = Theirs(faster_whisper, path, kind, base)
    if arguments.short_base:
        systems["ours, short"] = Ours(whisper.load(arguments.short_base))
    result: dict = {"utterances": len(recordings)}
    print(
        f"{'batch':>5} {'system':<24} {'ms':>8} {'CPU ms':>8} {'of ours':>8} "
        f"{'same texts':>11}"
    )
    for size in arguments.batches:
        seconds, found = compare(systems, recordings, size, f"batch {size}")
        ours = seconds["ours"]
        for name, (wall, cpu) in seconds.items():
            same = sum(
                a == b for a, b in zip(found["ours"], found[name], strict=True)
            )
            shown = f"faster-whisper {name}" if name in COMPUTE_TYPES else name
            count = len(recordings)
            print(
                f"{size:>5} {shown:<24} {1000 * wall / count:8.1f} "
                f"{1000 * cpu / count:8.1f} {wall / ours[0]:8.2f} "
                f"{same:>5}/{count}"
            )
            key = f"{name.replace(', ', '_')}_{size}"
            result[f"ms_{key}"] = 1000 * wall / count
            if name in COMPUTE_TYPES:
                result[f"speed_over_{key}"] = wall / ours[0]
                result[f"cpu_over_{key}"] = cpu / ours[1]
                result[f"same_texts_{key}"] = same
    if arguments.model_dir:
        result["evaluation_seconds"] = jobs.command(
            "tasks.evaluate",
            f"--model_dir={arguments.model_dir}",
            f"--test_manifest={arguments.test_manifest}",
            f"--compare_with={arguments.base}",
            f"--output_dir={arguments.work_dir}/evaluation",
        )
        print(f"tasks.evaluate: {result['evaluation_seconds']:.0f} s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
