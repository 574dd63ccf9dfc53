"""Compares the estimated memory and time of training steps with measured ones.

    python -m tests.benchmarks.estimates [--only=whisper]

Each step runs in a process of its own, on a base model of random weights, with
every place filled.
"""

import argparse
import json
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A size of Whisper or an experiment on a Conformer, the padded seconds, places,
# utterances of each, and tokens.
STEPS = (
    ("tiny.en", 5, 4, 8, 24),
    ("tiny.en", 3, 2, 4, 16),
    ("tiny.en", 10, 4, 8, 64),
    ("tiny.en", 30, 1, 2, 64),
    ("tiny.en", 30, 1, 8, 24),
    ("tiny.en", 30, 2, 8, 64),
    ("base.en", 5, 4, 8, 24),
    ("base.en", 30, 1, 4, 64),
    ("small.en", 5, 1, 8, 24),
    ("small.en", 30, 1, 1, 64),
    ("conformer.LibriSpeechS", 8, 4, 8, 64),
    ("conformer.LibriSpeechS", 24, 1, 8, 64),
    ("conformer.LibriSpeechM", 12, 2, 8, 64),
    ("conformer.LibriSpeechL", 8, 1, 4, 64),
)


def measure(name, seconds, places, utterances, tokens):
    """Runs a step a few times; prints what it took and what was estimated."""
    import dataclasses
    import time

    import numpy as np
    import tensorflow as tf

    from lingvo_like.base_models.whisper import audio_context
    from params import jobs, registry
    from tasks.asr.estimates import cost, machine
    from tasks.compilation import programs, untrained

    samples = 16000 * seconds
    whisper = "." in name and not name.startswith("conformer")
    experiment = registry.get("whisper.Stacked" if whisper else name)
    experiment = dataclasses.replace(
        experiment,
        train=jobs.Train(
            speakers_per_step=places, utterances_per_speaker=utterances
        ),
    )
    rows = places * utterances
    if whisper:
        # The padded length, with the silence at its end.
        whole = seconds - audio_context.DEFAULT_TAIL_SECONDS
        shapes = cost.of_whisper(
            untrained.whisper_dimensions(name), rows, whole, tokens
        )
    else:
        shapes = cost.of_conformer(experiment.base, rows, seconds)
    before = machine.used_bytes()
    rate = machine.products_per_second()
    base = untrained.make(experiment.base, name if whisper else "tiny.en")
    job = programs.training_job(base, experiment, places)
    specs = programs.batch_specs(job, places, samples, tokens)
    draw = np.random.default_rng(0)
    batch = {
        key: tf.constant(draw.standard_normal(spec.shape), tf.float32)
        if spec.dtype == tf.float32
        else tf.ones(spec.shape, spec.dtype)
        for key, spec in specs.items()
    }
    batch["row_indices"] = tf.range(places)
    batch["weights"] = tf.ones([places, utterances])
    batch["lengths"] = tf.fill([places, utterances], samples)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        job.train_step(batch)[0].numpy()
        times.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "program": before,
                "bytes": machine.peak_bytes(),
                "estimated_bytes": shapes.num_bytes(),
                "seconds": min(times),
                "first_seconds": times[0],
                "products": shapes.products(),
                "estimated_seconds": shapes.seconds(rate),
                "products_per_second": rate,
                "parameters": [shapes.parameters, base.count_params()],
                "shapes": dataclasses.asdict(shapes),
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        measure(*json.loads(arguments.step))
        return
    found = []
    for step in STEPS:
        if arguments.only not in step[0]:
            continue
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, f"--step={json.dumps(step)}"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = json.loads(done.stdout.splitlines()[-1])
        found.append({"step": step, **row})
        name, seconds, places, utterances, _ = step
        print(
            f"{name:<24}{seconds:3d} s {places} x {utterances}"
            f"{row['bytes'] / 2**30:8.2f} GiB"
            f"{row['estimated_bytes'] / 2**30:8.2f} estimated"
            f"{row['seconds']:8.2f} s{row['estimated_seconds']:8.2f} estimated",
            flush=True,
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
