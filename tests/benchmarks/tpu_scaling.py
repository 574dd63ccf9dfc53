"""Reports what the TPU compiler says of a job with many Submodels.

    python -m tests.benchmarks.tpu_scaling [--topology=v5e:4x4]

The job has the paper's scale: Conformer L, adapters of 64 in each of its 17
blocks, and 128 utterances of 30 s in a step, shared out to the chips of a
slice. The training step is compiled for a job of 1, 128 and 1,024 Submodels in
the same batch, for as many as a chip holds, and for 1,024 that share a space.
Nothing runs, and no TPU is needed. Ratios are to the job of one Submodel. The
program needs `pip install -e '.[aot]'`, and minutes for each compilation.
"""

import argparse
import dataclasses
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EXPERIMENT = "conformer.LibriSpeechL128"
COUNTS = (1, 128, 1024)
PAPER_SUBMODELS = 128
EMBEDDING_DIM = 16


class Bench:
    """Compiles the step of one chip for jobs of many sizes."""

    def __init__(self, arguments):
        from params import registry
        from tasks.asr import layouts
        from tasks.compilation import untrained
        from tpu.aot import topology

        self.experiment = registry.get(EXPERIMENT)
        self.target = topology.lookup(arguments.topology)
        self.base = untrained.make(
            self.experiment.base, "", self.experiment.train.compute_dtype
        )
        self.num_samples = self.base.num_samples(arguments.seconds)
        self.utterances = self.experiment.train.speakers_per_step
        self.num_values = layouts.of(
            self.base.sites, self.experiment
        ).num_values
        self.slot_bytes = 0
        self.reports = {}

    def compile(self, num_slots, space=None):
        """The report of a chip that holds a number of Submodels.

        Args:
            num_slots: how many.
            space: `spaces.Space` in which they are embeddings, if any.
        """
        from tasks.compilation import programs

        places = min(num_slots, self.utterances)
        experiment = dataclasses.replace(
            self.experiment,
            train=dataclasses.replace(
                self.experiment.train,
                utterances_per_speaker=self.utterances // places,
            ),
            space=space or self.experiment.space,
        )
        start = time.perf_counter()
        made = programs.train_program(
            self.base,
            experiment,
            *(num_slots, places, self.num_samples, None),
            self.target.num_chips,
        )
        report = made.compile(self.target.name)
        print(
            f"{num_slots} Submodels on a chip, {places} in its step: "
            f"{time.perf_counter() - start:.0f} s, "
            f"{report.hbm_fraction:.1%} of a chip's HBM",
            file=sys.stderr,
            flush=True,
        )
        if space is None:
            self.slot_bytes = made.slot_bytes
            self.reports[num_slots] = report
        return report

    def slots(self, num_submodels):
        """Submodels on each chip of a job."""
        return -(-num_submodels // self.target.num_chips)


def run(arguments):
    """Compiles all programs; returns the results."""
    from params import spaces
    from tasks.compilation import capacity

    bench = Bench(arguments)
    reports = {count: bench.compile(bench.slots(count)) for count in COUNTS}
    one = reports[1]
    largest = bench.slots(COUNTS[-1])

    def compile_at(num_slots):
        return bench.reports.get(num_slots) or bench.compile(num_slots)

    # A space sums its basis: without it, an all-reduce of 0 bytes would say
    # nothing. Every chip holds all embeddings of a space.
    space = bench.compile(COUNTS[-1], spaces.Space(embedding_dim=EMBEDDING_DIM))
    found = capacity.measure(
        compile_at, largest, bench.utterances, bench.slot_bytes
    )
    reports[found.most * bench.target.num_chips] = bench.reports[found.most]
    print(
        f"{'Submodels':>9} {'GFLOP':>10} {'GB moved':>9} {'roofline ms':>11} "
        f"{'HBM GiB':>8} {'collectives':>11} {'compile s':>9}"
    )
    for count, report in reports.items():
        print(
            f"{count:9,d} {report.flops / 1e9:10,.1f} "
            f"{report.bytes_accessed / 1e9:9,.2f} "
            f"{report.roofline_seconds * 1e3:11,.2f} "
            f"{report.memory_bytes / 2**30:8.2f} "
            f"{len(report.collectives):11d} {report.compile_seconds:9.0f}"
        )
    step = reports[PAPER_SUBMODELS]
    num_updates = bench.experiment.train.num_steps
    per_job = found.most * bench.target.num_chips
    return {
        "topology": bench.target.name,
        "parameters": bench.base.count_params(),
        "submodel_values": bench.num_values,
        **{
            f"flops_ratio_{count}": reports[count].flops / one.flops
            for count in COUNTS[1:]
        },
        "flops_ratio_most": reports[per_job].flops / one.flops,
        "roofline_ratio": max(
            reports[count].roofline_seconds / one.roofline_seconds
            for count in COUNTS[1:]
        ),
        "roofline_ratio_most": reports[per_job].roofline_seconds
        / one.roofline_seconds,
        "all_reduce_bytes": max(r.collective_bytes for r in reports.values()),
        "all_reduce_bytes_of_a_space": space.collective_bytes,
        "submodels_per_job": per_job,
        "submodels_per_job_over_paper": per_job / PAPER_SUBMODELS,
        "submodels_per_job_confirmed": found.confirmed,
        "submodel_bytes": found.slot_bytes,
        "updates_per_submodel": num_updates,
        "submodels_per_chip_hour": bench.utterances
        * 3600.0
        / (num_updates * step.roofline_seconds),
        "submodels_per_chip_hour_by_arithmetic": bench.utterances
        * 3600.0
        / (num_updates * step.compute_seconds),
        "hbm_gib": step.memory_bytes / 2**30,
        "roofline_seconds": step.roofline_seconds,
        "bound": step.bound,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", default="v5e:4x4")
    parser.add_argument("--seconds", type=float, default=30.0)
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
