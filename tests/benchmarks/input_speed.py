"""Compares the speed of the input pipeline with what a chip can take.

    python -m tests.benchmarks.input_speed --step_examples_per_second=2000
    python -m tests.benchmarks.input_speed --compiled=compiled.json

The program makes a corpus of noise, the hardest input for FLAC. It writes it
as 16-bit WAV files and packs them into TFRecord shards as `tasks.pack_shards`
does. The trainer's own pipeline (`input_pipeline.Loader` and `dataset`) reads
them, decodes them, resamples them to the base's rate and makes batches. The
figure is the processor time of all threads together: it says what one core can
do, even if other programs keep the cores busy. The wall-clock figure beside it
shows how far the pipeline's threads use all cores at once.

--compiled takes the output of `python -m tasks.aot_compile` for a training
step (its last line is JSON). The roofline only approximates the time that a
chip needs, and so the number of cores is approximate too. The time of the
arithmetic alone gives an upper bound of what the chip can take.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import soundfile

from params import jobs
from tasks.asr.batches import input_pipeline, minibatch_schedule
from tasks.asr.data import manifest, preparation, shards

SPEAKERS, UTTERANCES = 4, 4
TEXT = "turn on the light"


def corpus(folder, sample_rate, seconds, num_utterances, seed=0):
    """Writes WAV files of one rate, and returns their `Utterance`s."""
    draw = np.random.default_rng(seed)
    result = []
    for number in range(num_utterances):
        path = folder / f"{sample_rate}_{number}.wav"
        signal = 0.1 * draw.standard_normal(round(seconds * sample_rate))
        soundfile.write(path, signal, sample_rate, subtype="PCM_16")
        result.append(
            manifest.Utterance(
                audio_filepath=str(path),
                duration=seconds,
                text=TEXT,
                speaker=f"s{number % SPEAKERS}",
                utt_id=str(number),
            )
        )
    return result


def packed(folder, utterances, container):
    """Packs the same utterances into shards."""
    folder.mkdir()
    result = shards.pack(
        {"all": utterances}, folder, 256_000_000, container=container
    )
    if result.left_out["all"]:
        raise SystemExit(result.left_out["all"].describe())
    return result.utterances["all"]


def pipeline(utterances, base_rate, seconds, num_batches):
    """Batches of `SPEAKERS` x `UTTERANCES`, as training reads them."""
    speakers = {}
    for slot in range(SPEAKERS):
        speakers[slot] = preparation.TokenizedUtterances(
            tuple(
                dataclasses.replace(u, tokens=(1, 2, 3))
                for u in utterances
                if u.speaker == f"s{slot}"
            )
        )
    augment = jobs.Augment()
    loader = input_pipeline.Loader(
        speakers,
        base_rate,
        16,
        ("en",),
        SPEAKERS,
        UTTERANCES,
        augment,
        seed=0,
    )
    bucket = math.ceil(seconds * base_rate)
    draw = np.random.default_rng(0)

    def minibatch(slot, step):
        count = len(speakers[slot].utterances)
        chosen = draw.choice(count, UTTERANCES, replace=count < UTTERANCES)
        ones = (1.0,) * UTTERANCES
        return minibatch_schedule.Minibatch(
            slot, f"s{slot}", step, tuple(map(int, chosen)), ones, bucket
        )

    groups = [
        minibatch_schedule.Group(
            bucket, tuple((s, minibatch(s, i)) for s in range(SPEAKERS))
        )
        for i in range(num_batches)
    ]
    return input_pipeline.dataset(loader.batch, groups)


def measure(utterances, arguments):
    """Examples per second of one core, and of the machine."""
    examples = arguments.num_batches * SPEAKERS * UTTERANCES
    per_core, together = [], []
    # In the first round files are not cached and libraries not loaded.
    for _ in range(arguments.rounds + 1):
        batches = pipeline(
            utterances,
            arguments.base_rate,
            arguments.seconds,
            arguments.num_batches,
        )
        wall, processor = time.perf_counter(), time.process_time()
        for batch in batches:
            if not int(batch["lengths"][0, 0]):
                raise SystemExit("a batch came without audio")
        per_core.append(examples / (time.process_time() - processor))
        together.append(examples / (time.perf_counter() - wall))
    return statistics.median(per_core[1:]), statistics.median(together[1:])


@dataclasses.dataclass(frozen=True)
class Demand:
    """Examples per second that a chip takes, of one duration or of any.

    `most` is what it takes where its arithmetic is all that takes time.
    """

    examples_per_second: float
    utterance_seconds: float | None = None
    most: float | None = None


def compiled_demand(path):
    """The `Demand` of a compiled step, from tasks.aot_compile's output."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").strip().splitlines()
    try:
        figures = json.loads(lines[-1])
        if not figures.get("fits", True):
            raise SystemExit(f"error: {path}: the step does not fit the chip")
        utterances = (
            figures["utterances_per_step_of_a_chip"] * figures["steps_per_call"]
        )
        return Demand(
            utterances / figures["roofline_seconds"],
            figures.get("utterance_seconds"),
            utterances / figures["compute_seconds"],
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"error: {path}: not the output of tasks.aot_compile for a "
            f"training step: {error!r}"
        ) from None


def report(rows, demand):
    """Prints the table and returns the results."""
    header = f"{'source':<12}{'rate':>8}{'per core':>12}{'together':>12}"
    print(header + ("  cores per chip" if demand else ""))
    results = {"num_cores": os.cpu_count()}
    for (source, rate), (per_core, together) in rows.items():
        line = f"{source:<12}{rate:>8}{per_core:>12.1f}{together:>12.1f}"
        name = f"{source}_{rate}"
        results[f"{name}_per_core"] = round(per_core, 2)
        results[f"{name}_together"] = round(together, 2)
        if demand:
            cores = demand.examples_per_second / per_core
            results[f"{name}_cores_per_chip"] = round(cores, 2)
            line += f"{cores:>16.1f}"
        print(line)
    if demand:
        results["step_examples_per_second"] = round(
            demand.examples_per_second, 2
        )
        if demand.most:
            results["step_examples_per_second_most"] = round(demand.most, 2)
    return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument(
        "--step_examples_per_second",
        type=float,
        help="examples per second that a chip takes",
    )
    wanted.add_argument(
        "--compiled", help="file with the output of tasks.aot_compile"
    )
    parser.add_argument("--seconds", type=float, help="of an utterance; else 5")
    parser.add_argument(
        "--sample_rates",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[16000, 44100],
        help="of the recordings",
    )
    parser.add_argument("--base_rate", type=int, default=16000)
    parser.add_argument("--num_utterances", type=int, default=64)
    parser.add_argument("--num_batches", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    demand = None
    if arguments.compiled:
        demand = compiled_demand(arguments.compiled)
    elif arguments.step_examples_per_second:
        demand = Demand(arguments.step_examples_per_second)
    if arguments.seconds is None:
        arguments.seconds = (demand and demand.utterance_seconds) or 5.0
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for rate in arguments.sample_rates:
            print(f"measuring {rate} Hz", file=sys.stderr)
            wavs = corpus(
                folder, rate, arguments.seconds, arguments.num_utterances
            )
            sources = {"files": wavs}
            for container in shards.CONTAINERS:
                name = f"{container.lower()}_shards"
                sources[name] = packed(
                    folder / f"{name}_{rate}", wavs, container
                )
            for source, utterances in sources.items():
                rows[source, rate] = measure(utterances, arguments)
    results = report(rows, demand)
    results["utterance_seconds"] = arguments.seconds
    print(json.dumps(results))


if __name__ == "__main__":
    main()
