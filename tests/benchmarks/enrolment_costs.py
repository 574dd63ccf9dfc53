"""Seconds and memory of `tests.benchmarks.enrolment`."""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np

from tasks.asr.data import inspection, manifest
from tasks.asr.training import task
from tests.benchmarks import jobs

ELEMENTS = 64


def step(arguments):
    """A step and the memory of a speaker, for few and for many speakers."""
    import tensorflow as tf

    values = jobs.experiment(
        arguments.experiment,
        [
            *arguments.set,
            f"space.embedding_dim={ELEMENTS}",
            "submodel.dropout_rate=0",
        ],
    )
    base = jobs.load_base(arguments.base, values)
    jobs_by_count, milliseconds, num_bytes = {}, {}, {}
    for count in arguments.step_speakers:
        job = task.SubmodelTask(base, values, [f"S{i}" for i in range(count)])
        jobs_by_count[count] = job
        num_bytes[count] = sum(
            v.shape.num_elements() * v.dtype.size
            for v in job.state_by_name.values()
        )
    feed = batch(base)
    seconds = {count: [] for count in jobs_by_count}
    # In turn, so that what else the machine does falls on all alike.
    for _ in range(9):
        for count, job in jobs_by_count.items():
            started = time.perf_counter()
            job.train_step({k: tf.constant(v) for k, v in feed.items()})[
                0
            ].numpy()
            seconds[count].append(time.perf_counter() - started)
    for count, each in seconds.items():
        milliseconds[count] = 1000 * float(np.median(each[2:]))
        print(f"{count:>6} speakers: {milliseconds[count]:.0f} ms a step")
    few, many = min(num_bytes), max(num_bytes)
    added = (num_bytes[many] - num_bytes[few]) / max(1, many - few)
    print(f"a speaker adds {added:.0f} bytes, 12 E is {12 * ELEMENTS}")
    return {
        "step_milliseconds": milliseconds,
        f"ratio_{many}": milliseconds[many] / milliseconds[few],
        "bytes_per_speaker": added,
        "bytes_12_e": 12 * ELEMENTS,
    }


def batch(base, places=4, utterances=4, seconds=3):
    samples = base.bucket_samples(seconds * base.sample_rate - 8000)
    draw = np.random.default_rng(0)
    audio = draw.normal(0, 0.1, (places, utterances, samples))
    return {
        "audio": audio.astype(np.float32),
        "lengths": np.full((places, utterances), samples, np.int32),
        "tokens": np.full((places, utterances, 16), 40, np.int32),
        "token_lengths": np.full((places, utterances), 8, np.int32),
        "weights": np.ones((places, utterances), np.float32),
        "languages": np.zeros((places, utterances), np.int32),
        "row_indices": np.arange(places, dtype=np.int32),
        "active": np.ones(places, bool),
        "seeds": np.zeros((places, 2), np.int32),
        "freq_masks": np.zeros((places, utterances, 0, 2), np.float32),
        "time_masks": np.zeros((places, utterances, 0, 2), np.float32),
    }


def few(folder, path, num_utterances, num_speakers, severity=""):
    """A manifest of the first utterances of the first speakers, of one sort."""
    found, _ = inspection.read(folder / "train.jsonl")
    counts, kept = {}, []
    for utterance in found:
        if severity not in ("", utterance.severity):
            continue
        counts.setdefault(utterance.speaker, 0)
        if len(counts) > num_speakers:
            break
        if counts[utterance.speaker] < num_utterances:
            counts[utterance.speaker] += 1
            kept.append(utterance)
    manifest.write(str(path), kept)
    return path


def command(arguments, run, path, output):
    return [
        sys.executable,
        "-m",
        "tasks.enroll",
        f"--space={run}",
        f"--base={arguments.base}",
        f"--manifest={path}",
        f"--output_dir={output}",
        "--replace",
        "--json",
    ]


def seconds(arguments, folder, run):
    """tasks.enroll with 5 utterances of 1 and of many speakers.

    The one is hard to understand: a typical one has little to learn.
    """
    work_dir, result = pathlib.Path(arguments.work_dir), {}
    for count, severity in ((1, "severe"), (arguments.new_speakers, "")):
        path = few(folder, work_dir / f"few_{count}.jsonl", 5, count, severity)
        started = time.perf_counter()
        done = subprocess.run(
            command(arguments, run, path, work_dir / f"enrolled_{count}"),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        result[f"seconds_{count}"] = time.perf_counter() - started
        found = [s for s in done.stdout.splitlines() if s.startswith("{")]
        if not found:
            raise RuntimeError("tasks.enroll failed; see above")
        result[f"seconds_{count}_parts"] = json.loads(found[-1])["seconds"]
        print(f"{count} speakers: {result[f'seconds_{count}']:.1f} s")
    return result
