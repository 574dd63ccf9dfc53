"""Measures the paper's claim: 128 Submodels for the price of one.

    python -m tests.benchmarks.one_job [--base=BASE] [--work_dir=DIR]

Two jobs have the same batch size, number of steps and machine: 128 utterances
in a step, either all of one speaker or one of each of 128 speakers. A job is
the command `tasks.train`, from the manifest to the Submodel files. The figures
are Submodels per CPU-hour, and the word error rate of the speaker whom both
jobs have, on phrases that were not in training. All speech is of one bucket,
so both jobs compute the same; the error rate on test utterances of every
length is given too.
"""

import json
import pathlib
import resource
import time

from tasks.asr import layouts
from tasks.asr.data import inspection, manifest
from tests.benchmarks import jobs

BATCH = 128
EXPERIMENT = "whisper.ShortStacked"
# The padded length that most simulated phrases have.
BUCKET_SECONDS = 4.0


def in_one_bucket(base, path):
    """The utterances of one bucket of a manifest."""
    utterances, _ = inspection.read(str(path), strict=True)
    bucket = base.num_samples(BUCKET_SECONDS)
    return [
        u
        for u in utterances
        if base.bucket_samples(base.num_samples(u.duration)) == bucket
    ]


def cpu_seconds():
    """Of the commands that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(run, manifest_path, settings, arguments):
    """Runs a job; returns its CPU seconds and its wall-clock seconds."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    jobs.command(
        "tasks.train",
        f"--experiment={EXPERIMENT}",
        f"--base={arguments.base}",
        f"--model_dir={run}",
        f"--train_manifest={manifest_path}",
        "--dev=none",
        *(f"--set={each}" for each in settings),
    )
    return cpu_seconds() - cpu, time.perf_counter() - wall


def main():
    parser = jobs.parser("one_job", __doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    arguments = jobs.parse(parser)
    for used in pathlib.Path(arguments.work_dir).glob("run_*"):
        # A job that continues from there would take next to no time.
        parser.error(f"{used} is of an earlier run: remove it")
    shared = jobs.simulate(
        f"{arguments.work_dir}/shared_speaker",
        num_speakers=1,
        severities="moderate",
        utterances_per_speaker=1200,
        dev_utterances=0,
        test_utterances=200,
        seed=11,
    )
    others = jobs.simulate(
        f"{arguments.work_dir}/other_speakers",
        num_speakers=BATCH - 1,
        severities="moderate",
        utterances_per_speaker=45,
        seed=12,
        speaker_prefix="OTHER",
        split="false",
    )
    folder = pathlib.Path(arguments.work_dir)
    base = jobs.load_base(arguments.base, jobs.experiment(EXPERIMENT, []))
    one = in_one_bucket(base, shared / "train.jsonl")
    manifests = {
        "one": one,
        "many": one + in_one_bucket(base, others / "manifest.jsonl"),
        "test": in_one_bucket(base, shared / "test.jsonl"),
    }
    for name, utterances in manifests.items():
        manifest.write(str(folder / f"{name}.jsonl"), utterances)
    speakers = sorted({u.speaker for u in one})
    results = {}
    for name, places in (("one", 1), ("many", BATCH)):
        settings = [
            f"train.num_steps={arguments.steps}",
            f"train.eval_every_steps={arguments.steps}",
            f"train.speakers_per_step={places}",
            f"train.utterances_per_speaker={BATCH // places}",
            f"optimizer.learning_rate={arguments.learning_rate}",
        ]
        run = folder / f"run_{name}"
        cpu, wall = train(run, folder / f"{name}.jsonl", settings, arguments)
        data = jobs.test_data(base, folder / "test.jsonl", speakers)
        every_length = jobs.test_data(base, shared / "test.jsonl", speakers)
        trained = jobs.submodels(run)
        adapted = jobs.stack_of(
            base,
            {speaker: trained[speaker].tensors for speaker in speakers},
            speakers,
            layouts.of(base.sites, jobs.experiment(EXPERIMENT, settings)),
        )
        errors = jobs.word_errors(base, data, adapted, name)
        results[name] = {
            "submodels": len(trained),
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "per_cpu_hour": len(trained) / cpu * 3600.0,
            "wer": jobs.rate(errors),
            "wer_every_length": jobs.rate(
                jobs.word_errors(base, every_length, adapted, "every length")
            ),
            "base_wer": jobs.rate(jobs.word_errors(base, data, None, "base")),
            "words": sum(words for _, words in errors.values()),
        }
    print(
        f"{'job':<6} {'Submodels':>9} {'CPU s':>8} {'per CPU-hour':>13} "
        f"{'WER %':>7} {'base %':>7}"
    )
    for name, row in results.items():
        print(
            f"{name:<6} {row['submodels']:9d} {row['cpu_seconds']:8.0f} "
            f"{row['per_cpu_hour']:13.1f} {row['wer']:7.2f} "
            f"{row['base_wer']:7.2f}"
        )
    print(
        json.dumps(
            {
                "throughput_ratio": results["many"]["per_cpu_hour"]
                / results["one"]["per_cpu_hour"],
                "wer_difference_points": abs(
                    results["many"]["wer"] - results["one"]["wer"]
                ),
                **results,
            }
        )
    )


if __name__ == "__main__":
    main()
