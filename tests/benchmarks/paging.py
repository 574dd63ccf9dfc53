"""Compares a job that has fewer rows than Submodels with one where all fit.

    python -m tests.benchmarks.paging [--base=BASE] [--work_dir=DIR]

The base model is a short-context Whisper or, without --base, a Conformer of
two blocks with random weights: beside so small a base, the cost of Submodels
weighs most. Adapters of 512 give the Submodels a realistic size.

The program simulates 16 speakers, and gives each of thousands of speakers one
of their short utterances. One job trains the Submodels of 128, which all have
rows. Another trains those of 20,000, of which 256 have rows at a time and the
others take turns. Each job is a process of its own. The job of 128 runs before
and after the other, because the machine may be shared. It makes so many steps
that it has to read during them, as the other job does: what is read before the
first step costs later steps nothing. Besides the time of a step, the program
reports the rest of a job: starting Submodels, checkpoints, and writing the
files.
"""

import json
import pathlib
import resource
import shutil
import statistics
import time

from tasks.compilation import untrained
from tests.benchmarks import jobs

SPEAKERS = 16
# All in one bucket, so that one program is compiled.
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 2.0


def main():
    parser = jobs.parser("paging", __doc__, default_base="")
    parser.add_argument("--speakers", type=int, default=20_000)
    parser.add_argument(
        "--step", type=int, default=128, help="speakers of a step"
    )
    parser.add_argument("--resident", type=int, default=256, help="rows")
    parser.add_argument("--updates", type=int, default=8, help="of a Submodel")
    parser.add_argument(
        "--step_updates",
        type=int,
        default=100,
        help="of a Submodel in the job of one step",
    )
    parser.add_argument(
        "--job", type=int, default=0, help="train only the job of this size"
    )
    arguments = jobs.parse(parser)
    if arguments.job:
        print(json.dumps(_train(arguments, arguments.job)))
        return
    _write_manifests(arguments)
    counts = (arguments.step, arguments.speakers, arguments.step)
    first, many, last = (
        jobs.in_process("tests.benchmarks.paging", f"--job={count}")
        for count in counts
    )
    few = {
        key: statistics.mean([first[key], last[key]])
        for key in ("step_seconds", "resident_gib")
    }
    rest = many["seconds"] - many["steps"] * many["step_seconds"]
    print(f"{'Submodels':>10} {'rows':>6} {'s a step':>9} ", end="")
    print(f"{'GiB':>6} {'state, GiB':>11}")
    for count, found in ((arguments.step, few), (arguments.speakers, many)):
        rows = min(count, arguments.resident)
        state = many["submodel_bytes"] * count / 2**30
        print(
            f"{count:>10,} {rows:>6,} {found['step_seconds']:>9.3f} "
            f"{found['resident_gib']:>6.2f} {state:>11.2f}"
        )
    print("state: weights and moments if every Submodel had a row")
    print(
        json.dumps(
            {
                "paging_ratio": many["step_seconds"] / few["step_seconds"],
                "resident_gib": many["resident_gib"],
                "rest_ms_per_submodel": 1e3 * rest / many["files"],
                "submodels": many["files"],
                "updates": many["updates"],
                "seconds": many["seconds"],
            }
        )
    )


def _manifest(arguments, count):
    return pathlib.Path(arguments.work_dir) / f"train_{count}.jsonl"


def _write_manifests(arguments):
    folder = pathlib.Path(arguments.work_dir) / "speech"
    jobs.simulate(
        folder,
        num_speakers=SPEAKERS,
        utterances_per_speaker=26,
        dev_utterances=1,
        test_utterances=1,
    )
    lines = [
        json.loads(line)
        for line in (folder / "train.jsonl").read_text().splitlines()
    ]
    short = [
        each
        for each in lines
        if SHORTEST_SECONDS < each["duration"] <= LONGEST_SECONDS
    ]
    for count in (arguments.step, arguments.speakers):
        with open(_manifest(arguments, count), "w") as file:
            for number in range(count):
                line = dict(short[number % len(short)])
                line["audio_filepath"] = str(folder / line["audio_filepath"])
                line["speaker"] = f"speaker_{number:05d}"
                line["utt_id"] = f"{number:05d}"
                file.write(json.dumps(line) + "\n")


def _train(arguments, count):
    """Runs a job, from an empty folder to the Submodels' files."""
    num_steps = arguments.updates
    if count == arguments.step:
        num_steps = arguments.step_updates
    name, size = "whisper.ShortStacked", []
    if not arguments.base:
        name, size = "conformer.Tiny", ["adapter.bottleneck_dim=512"]
    values = jobs.experiment(
        name,
        [
            *size,
            f"train.num_steps={num_steps}",
            f"train.speakers_per_step={arguments.step}",
            "train.utterances_per_speaker=1",
            f"train.resident_speakers={arguments.resident}",
            f"train.eval_every_steps={num_steps}",
            "train.submodel_dtype=float16",
        ],
    )
    base = untrained.load_or_make(values.base, arguments.base, "")
    path = _manifest(arguments, count)
    corpus = jobs.prepare(base, values, path.parent, path.name)
    folder = path.parent / f"run_{count}"
    shutil.rmtree(folder, ignore_errors=True)
    job = jobs.Job(base, values, corpus, folder)
    steps = job.time_steps()
    start = time.perf_counter()
    job.trainer.run()
    elapsed = time.perf_counter() - start
    seconds = [each for _, each in steps]
    updates = sum(state.steps for state in job.trainer.state.speakers)
    # The first step compiles.
    elapsed -= seconds[0] - statistics.median(seconds[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "steps": len(seconds),
        "step_seconds": statistics.median(seconds[1:]),
        "resident_gib": peak / 2**30,
        "submodel_bytes": 12 * job.task.stack.layout.num_values,
        "files": len(list((folder / "submodels").iterdir())),
        "updates": updates,
        "seconds": elapsed,
    }


if __name__ == "__main__":
    main()
