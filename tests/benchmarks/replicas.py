"""Times a step on 1, 2 and 4 replicas, and counts compilations over an epoch.

    python -m tests.benchmarks.replicas [--base=BASE] [--work_dir=DIR]

The replicas are virtual CPUs, which share the cores of this machine. So the
time of a step is that of the work of all replicas: the same for 8 speakers on
one, two or four replicas, and twice as much for 16. Each job is a process of
its own. It trains 16 simulated speakers through all their utterances, in all
their buckets. The jobs take turns in every round, and a ratio is the median
over rounds, because the machine may be shared.
"""

import collections
import json
import shutil
import statistics

from tests.benchmarks import jobs

SPEAKERS, UTTERANCES = 16, 12
# Replicas, and speakers of a step on each.
LAYOUTS = ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4))


def main():
    parser = jobs.parser("replicas", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layout", default="", help="train only this layout")
    arguments = jobs.parse(parser)
    if arguments.layout:
        replicas, places = map(int, arguments.layout.split("x"))
        print(json.dumps(_train(arguments, replicas, places)))
        return
    jobs.simulate(
        f"{arguments.work_dir}/speech",
        num_speakers=SPEAKERS,
        utterances_per_speaker=UTTERANCES + 2,
        dev_utterances=1,
        test_utterances=1,
    )
    rounds = [
        {layout: _run(*layout) for layout in LAYOUTS}
        for _ in range(arguments.rounds)
    ]
    seconds, figures = {}, {}
    for replicas, places in LAYOUTS:
        ratios = [
            _ratio(found[replicas, places], found[1, 8]) for found in rounds
        ]
        seconds[replicas, places] = statistics.median(ratios)
    print(f"{'replicas':>8} {'of each':>8} {'time':>6} {'work':>6} ", end="")
    print(f"{'buckets':>8} {'programs':>9} {'steps':>6}")
    for layout in LAYOUTS:
        replicas, places = layout
        found = rounds[0][layout]
        print(
            f"{replicas:>8} {places:>8} {seconds[layout]:>6.2f} "
            f"{replicas * places / 8:>6.1f} {len(found['seconds']):>8} "
            f"{found['programs']:>9} {found['steps']:>6}"
        )
        name = f"time_{replicas}x{places}"
        figures[name] = round(seconds[layout], 3)
    print("time and work of a step, relative to 8 speakers on one replica")
    figures["recompilations"] = sum(
        found["programs"] - len(found["seconds"])
        for of_round in rounds
        for found in of_round.values()
    )
    print(json.dumps(figures))


def _ratio(found, one):
    """Time of a step relative to another job, at equal buckets."""
    return statistics.mean(
        found["seconds"][bucket] / one["seconds"][bucket]
        for bucket in one["seconds"]
        if bucket in found["seconds"]
    )


def _run(replicas, places):
    return jobs.in_process(
        "tests.benchmarks.replicas", f"--layout={replicas}x{places}"
    )


def _train(arguments, num_replicas, places):
    """Median seconds of a step by bucket, and the number of programs."""
    from tpu.distribute import replicas as replicas_lib, strategy

    found = replicas_lib.Replicas(strategy.create(virtual_cpus=num_replicas))
    values = jobs.experiment(
        "whisper.ShortStacked",
        [
            f"train.num_steps={UTTERANCES}",
            f"train.eval_every_steps={UTTERANCES}",
            f"train.speakers_per_step={places}",
            "train.utterances_per_speaker=1",
        ],
    )
    with found.scope():
        base = jobs.load_base(arguments.base, values)
    corpus = jobs.prepare(base, values, f"{arguments.work_dir}/speech")
    folder = f"{arguments.work_dir}/run_{num_replicas}x{places}"
    shutil.rmtree(folder, ignore_errors=True)
    job = jobs.Job(base, values, corpus, folder, replicas=found)
    step, steps = job.trainer.train_step, job.time_steps()
    job.trainer.run()
    seconds = collections.defaultdict(list)
    for bucket, each in steps:
        seconds[bucket].append(each)
    return {
        # The first step of each bucket compiles.
        "seconds": {
            bucket: statistics.median(each[1:] or each)
            for bucket, each in seconds.items()
        },
        "programs": step.tracing_count,
        "steps": len(steps),
    }


if __name__ == "__main__":
    main()
