"""Measures the gain of new speakers from a space of speaker embeddings.

    python -m tests.benchmarks.enrolment [--base=BASE] [--work_dir=DIR]

Simulated speakers learn a space; others enrol in it, of voices that it never
heard and, but for the typical ones, with a phonological process, among others,
that it never heard. The former have every set of four and of five of the other
processes, and most voices among them come with several severities, so that
neither tells the other. With --space_from_slots it starts from the slots that
they train first; with --grown_steps as many others join it then, most of them
hard to understand, and it is fitted again. Parts, all by default
(--parts=curve,step):

    curve     error rate on unseen phrases against the number of utterances,
              for the base, zero shot, embedding, a full slot from the space
              and one from scratch; `data_ratio`
    training  error rate of a space's own speakers, for spaces of more and fewer
              elements, against one slot each after as many steps from nothing
    seconds   tasks.enroll for a severe speaker and for 16, start included
    step      a training step at 64 elements for 64 to 10,000 speakers, and
              the memory that a speaker adds
    same      materialised Submodels against the path through embeddings, one
              speaker alone against among others, and kills at any moment

What is there already in DIR is used again. JSON comes last.
"""

import collections
import itertools
import json
import pathlib
import subprocess
import sys

from tasks.asr.data import inspection, manifest
from tests.benchmarks import (
    enrolment_costs,
    enrolment_curve,
    enrolment_sameness,
    jobs,
)

PARTS = ("curve", "training", "seconds", "step", "same")
# Of the simulator's voices and processes, those that the space never hears.
NUM_TRAIN_VOICES, NEW_VOICES = 34, "34:44"
NUM_HELD_OUT_PROCESSES = 2
# The space's speakers of each set of processes; who is harder to understand
# is more often among them.
SEVERITIES = ("typical", "mild", "moderate", "severe", "moderate", "severe")
# And of those who join it.
MORE_SEVERITIES = ("severe", "moderate", "severe", "mild", "severe", "moderate")
SET_SIZES = (4, 5)
# Speakers that are simulated for each new one that is taken.
CANDIDATES = 3


def parse():
    parser = jobs.parser("enrolment", __doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--experiment", default="whisper.ShortEmbedding16Encoder"
    )
    parser.add_argument("--slots", default="whisper.ShortAdapters")
    parser.add_argument(
        "--spaces",
        default=",".join(f"whisper.ShortEmbedding{n}" for n in (8, 16, 32, 64)),
        help="experiments that part training compares",
    )
    parser.add_argument(
        "--process_sets", type=int, default=0, help="0: all, of 6 speakers each"
    )
    parser.add_argument("--new_speakers", type=int, default=16)
    parser.add_argument("--train_utterances", type=int, default=50)
    parser.add_argument("--test_utterances", type=int, default=15)
    parser.add_argument("--num_steps", type=int, default=200)
    parser.add_argument("--scratch_steps", type=int, default=100)
    parser.add_argument("--space_from_slots", action="store_true")
    parser.add_argument(
        "--space_steps", type=int, default=0, help="0: --num_steps"
    )
    parser.add_argument(
        "--grown_steps",
        type=int,
        default=0,
        help="in which others join the space; 0: nobody does",
    )
    parser.add_argument("--counts", default="1,2,5,10,20,50")
    parser.add_argument("--step_speakers", default="64,1024,10000")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument(
        "--set", action="append", default=[], help="override of both runs"
    )
    arguments = jobs.parse(parser)
    arguments.parts = arguments.parts.split(",")
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: {', '.join(PARTS)}")
    arguments.spaces = arguments.spaces.split(",")
    for name in ("counts", "step_speakers"):
        values = getattr(arguments, name).split(",")
        setattr(arguments, name, [int(value) for value in values])
    return arguments


def simulate(arguments, work_dir):
    """The space's speakers, with those who join it, and the new ones."""
    from tasks.asr.simulator import phonology

    heard = phonology.PROCESSES[:-NUM_HELD_OUT_PROCESSES]
    held_out = phonology.PROCESSES[-NUM_HELD_OUT_PROCESSES:]
    common = {
        "dev_utterances": 5,
        "test_utterances": arguments.test_utterances,
        "utterances_per_speaker": (
            arguments.train_utterances + arguments.test_utterances + 5
        ),
    }
    own = known(arguments, work_dir / "known", heard, common)
    return (
        own,
        more(arguments, work_dir / "grown_known", own, heard, common),
        choose(
            jobs.simulate(
                work_dir / "candidates",
                num_speakers=CANDIDATES * arguments.new_speakers,
                voices=NEW_VOICES,
                # A speaker has up to six: the new ones beside heard ones.
                processes=",".join((*held_out, *heard)),
                speaker_prefix="NEW",
                seed=1,
                **common,
            ),
            work_dir / "new",
            held_out,
            arguments.new_speakers,
        ),
    )


def known(arguments, folder, processes, common):
    """The space's own speakers: the folder of their manifests."""
    parts = sets_of_speakers(
        arguments, folder, "KNOWN", 0, SEVERITIES, processes, common
    )
    return join(folder, parts)


def more(arguments, folder, own, processes, common):
    """The same and those who join them; None where nobody does."""
    if not arguments.grown_steps:
        return None
    parts = sets_of_speakers(
        arguments, folder, "MORE", 1, MORE_SEVERITIES, processes, common
    )
    return join(folder, [own, *parts])


def sets_of_speakers(
    arguments, folder, prefix, draw, severities, processes, common
):
    """The folders of one set of processes' speakers each."""
    sets = [
        some
        for size in SET_SIZES
        for some in itertools.combinations(processes, size)
    ][: arguments.process_sets or None]
    count = len(severities)
    num_firsts = NUM_TRAIN_VOICES - count + 1
    result = []
    for number, some in enumerate(sets):
        # Another voice first each time, which makes it another severity's.
        first = (5 * number + draw * num_firsts // 2) % num_firsts
        result.append(
            jobs.simulate(
                folder / f"set_{number:02d}",
                num_speakers=count,
                severities=",".join(severities),
                voices=f"{first}:{first + count}",
                processes=",".join(some),
                speaker_prefix=f"{prefix}{number:02d}S",
                seed=number + 1000 * draw,
                **common,
            )
        )
    return result


def join(folder, parts):
    """Manifests in a folder of all the speakers of others."""
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl"):
        together = [
            u for part in parts for u in inspection.read(part / name)[0]
        ]
        manifest.write(str(folder / name), together)
    return folder


def choose(folder, target, processes, count):
    """Manifests of as many speakers of each severity, with such a process.

    Args:
        folder: of a simulated corpus.
        target: folder to write the chosen speakers' manifests to.
        processes: names, of which all but the typical speakers have one.
        count: int, speakers of all severities.

    Returns:
        `target`.
    """
    found = json.loads((folder / "simulation.json").read_text())["speakers"]
    by_severity = collections.defaultdict(list)
    for each in found:
        if not each["processes"] or set(processes) & set(each["processes"]):
            by_severity[each["severity"]].append(each["speaker"])
    share = count // len(by_severity)
    for severity, speakers in by_severity.items():
        if len(speakers) < share:
            raise ValueError(f"{len(speakers)} {severity} speakers of {share}")
    chosen = {s for each in by_severity.values() for s in each[:share]}
    target.mkdir(exist_ok=True)
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl"):
        utterances, _ = inspection.read(folder / name)
        kept = [each for each in utterances if each.speaker in chosen]
        manifest.write(str(target / name), kept)
    return target


def train(arguments, name, experiment, folder, steps, *more):
    """A run of tasks.train; gone on with, or used again when done."""
    run = pathlib.Path(arguments.work_dir) / name
    command = [
        sys.executable,
        "-m",
        "tasks.train",
        f"--experiment={experiment}",
        f"--base={arguments.base}",
        f"--train_manifest={folder / 'train.jsonl'}",
        f"--dev_manifest={folder / 'dev.jsonl'}",
        f"--model_dir={run}",
        f"--set=train.num_steps={steps}",
        *(f"--set={each}" for each in arguments.set),
        *more,
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return run


def train_space(arguments, own, grown):
    """The run of the space that newcomers enrol in.

    Args:
        own: folder of its first speakers.
        grown: folder of those and who joins them, or None.
    """
    from_slots = []
    if arguments.space_from_slots:
        slots = train(
            arguments,
            "slots",
            arguments.slots,
            own,
            arguments.num_steps,
            "--set=submodel.shared_start=true",
        )
        from_slots = ["--set=space.initializer=stack", f"--space_from={slots}"]
    space = train(
        arguments,
        "space",
        arguments.experiment,
        own,
        arguments.space_steps or arguments.num_steps,
        *from_slots,
    )
    if not grown:
        return space
    return train(
        arguments,
        "grown",
        arguments.experiment,
        grown,
        arguments.grown_steps,
        "--set=space.initializer=space",
        f"--space_from={space}",
    )


def main():
    arguments = parse()
    work_dir = pathlib.Path(arguments.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    result = {"parts": arguments.parts}
    if "step" in arguments.parts:
        result |= enrolment_costs.step(arguments)
    if set(arguments.parts) - {"step"}:
        own, grown, new = simulate(arguments, work_dir)
    if "training" in arguments.parts:
        result |= enrolment_curve.training(
            arguments,
            own,
            {
                name: train(arguments, name, name, own, arguments.num_steps)
                for name in (arguments.slots, *arguments.spaces)
            },
        )
    if set(arguments.parts) & {"curve", "seconds", "same"}:
        space = train_space(arguments, own, grown)
    if "curve" in arguments.parts:
        result |= enrolment_curve.curve(arguments, new, space)
    if "seconds" in arguments.parts:
        result |= enrolment_costs.seconds(arguments, new, space)
    if "same" in arguments.parts:
        result |= enrolment_sameness.same(arguments, new, space)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
