"""Measures what it costs to train a speaker's recordings bit by bit.

    python -m tests.benchmarks.growing [--base=BASE] [--work_dir=DIR]

Each speaker records some utterances, and later as many more. Four ways to a
Submodel, of equally many updates in all, are tested on the same phrases:

    first   the first utterances alone
    grown   from there on with the others (`--start_from`), half of the updates
            each
    once    all utterances at once
    anew    the others alone, from the base model
"""

import json
import pathlib

from tests.benchmarks import jobs

# Utterances of each speaker.
DEV, TEST = 8, 30
WAYS = ("first", "grown", "once", "anew")


def part(speech, count):
    """Manifests of each speaker's first `count` utterances, the others, all."""
    by_speaker = {}
    for line in (speech / "train.jsonl").read_text().splitlines():
        by_speaker.setdefault(json.loads(line)["speaker"], []).append(line)
    for speaker, lines in by_speaker.items():
        if len(lines) < 2 * count:
            raise ValueError(
                f"{speaker} has {len(lines)} utterances; {2 * count} are needed"
            )
    parts = {
        "first": slice(0, count),
        "others": slice(count, 2 * count),
        "all": slice(0, 2 * count),
    }
    for name, chosen in parts.items():
        lines = [x for own in by_speaker.values() for x in own[chosen]]
        (speech / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def train(arguments, speech, folder, way, manifest, num_steps, *more):
    """Trains one way; returns the run's folder and the seconds."""
    run = folder / f"run_{way}"
    seconds = jobs.command(
        "tasks.train",
        f"--experiment={arguments.experiment}",
        f"--base={arguments.base}",
        f"--model_dir={run}",
        f"--train_manifest={speech / manifest}.jsonl",
        f"--dev_manifest={speech / 'dev.jsonl'}",
        f"--set=train.num_steps={num_steps}",
        f"--set=train.eval_every_steps={max(1, num_steps // 4)}",
        f"--set=train.seed={arguments.seed}",
        *more,
    )
    return run, seconds


def figures(speech, run):
    """The summary of an evaluation of a run."""
    jobs.command(
        "tasks.evaluate",
        f"--model_dir={run}",
        f"--test_manifest={speech / 'test.jsonl'}",
    )
    return json.loads((run / "evaluation" / "results.json").read_text())


def main():
    parser = jobs.parser("growing", __doc__)
    parser.add_argument("--experiment", default="whisper.ShortStacked")
    parser.add_argument("--speakers", type=int, default=8)
    parser.add_argument("--utterances", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = jobs.parse(parser)
    folder = pathlib.Path(arguments.work_dir)
    speech = jobs.simulate(
        folder / "speech",
        num_speakers=arguments.speakers,
        severities="moderate,severe",
        utterances_per_speaker=2 * arguments.utterances + DEV + TEST,
        dev_utterances=DEV,
        test_utterances=TEST,
        seed=31,
    )
    part(speech, arguments.utterances)
    half = arguments.steps // 2
    jobs_of = {
        "first": ("first", half),
        "grown": ("others", half, f"--start_from={folder / 'run_first'}"),
        "once": ("all", arguments.steps),
        "anew": ("others", arguments.steps),
    }
    results = {}
    for way in WAYS:
        run, seconds = train(arguments, speech, folder, way, *jobs_of[way])
        found = figures(speech, run)["overall"]
        key = "median_submodel_word_error_rate"
        results[way] = {
            "wer": 100 * found[key],
            "interval": [100 * each for each in found["intervals"][key]],
            "base_wer": 100 * found["median_base_word_error_rate"],
            "seconds": seconds,
        }
    print(f"{'way':<6} {'WER %':>7} {'interval':>16} {'seconds':>8}")
    for way, row in results.items():
        low, high = row["interval"]
        print(
            f"{way:<6} {row['wer']:7.2f} {low:7.2f} to {high:5.2f} "
            f"{row['seconds']:8.0f}"
        )
    print(f"base: {results['first']['base_wer']:.2f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
