"""A process that runs small jobs on some replicas, told by JSON.

    python -m tests.tpu.distribute.replica_job '[{"folder": ..., ...}, ...]'

Keys of a job: `folder` with `base` and the manifests `train.jsonl` and
`dev.jsonl`; `dev`, another name of the latter; `places_round`, whether the
places of a step shall round in ways of their own; `model_dir`; `replicas`, of
virtual CPUs, or none where TF_CONFIG says what there are; `train`, `space` and
`adapter`, other values of the experiment; `stop_after`, calls after which the
process sends itself SIGTERM.
Prints a JSON line of what it saw of each job.
"""

import dataclasses
import json
import os
import signal
import sys

import tensorflow as tf

from lingvo_like.base_models import conformer_ctc
from params import conformer
from tasks.asr.data import preparation
from tasks.asr.training import (
    job_state,
    model_directory,
    preemption,
    submodel_files,
    trainer,
)
from tests import tiny
from tpu.distribute import replicas, strategy

FINGERPRINT = "0" * 64


def experiment(told):
    tiny = conformer.Tiny()
    return dataclasses.replace(
        tiny,
        **{
            section: dataclasses.replace(
                getattr(tiny, section), **told.get(section, {})
            )
            for section in ("train", "space", "adapter")
        },
    )


class Job:
    """A job put together as the binary does."""

    def __init__(self, told, whole):
        values = experiment(told)
        self.told = told
        self.replicas = replicas.Replicas(some_of(whole, told.get("replicas")))
        self.directory = model_directory.ModelDirectory(told["model_dir"])
        if self.replicas.processes.is_chief:
            self.directory.prepare()
        self.replicas.processes.gather()
        folder = told["folder"]
        with self.replicas.scope():
            base = conformer_ctc.load(f"{folder}/base")
        dev = f"{folder}/{told.get('dev', 'dev.jsonl')}"
        corpus = preparation.prepare(base, values, f"{folder}/train.jsonl", dev)
        state = job_state.create(base, values, corpus.train, self.replicas)
        self.trainer = trainer.Trainer(
            state,
            corpus.train,
            corpus.dev,
            self.directory,
            submodel_files.Origin("conformer.Tiny", FINGERPRINT),
        )
        if told.get("places_round"):
            tiny.let_places_round(self.trainer)
        self.restored = state.restore(self.directory.checkpoints)

    def run(self):
        seen = {"calls": 0, "batches": {}}
        name = (
            "train_step" if self.trainer._steps_per_call == 1 else "train_steps"
        )
        step = getattr(self.trainer, name)

        def watched(batches, *arguments):
            if seen["calls"] == self.told.get("stop_after"):
                os.kill(os.getpid(), signal.SIGTERM)
            seen["calls"] += 1
            seen["batches"].setdefault(
                batches[0]["audio"].shape[-1], (batches, *arguments)
            )
            return step(batches, *arguments)

        setattr(self.trainer, name, watched)
        stopped = False
        try:
            self.trainer.run()
        except preemption.Stopped:
            stopped = True
        return {
            "stopped": stopped,
            "restored": self.restored,
            "replicas": self.replicas.num_replicas,
            "calls": seen["calls"],
            "buckets": len(seen["batches"]),
            "traces": step.tracing_count,
            "meetings": self.meetings(step, seen["batches"]),
            "places_of": self.trainer.state.sharding.places_of,
            "steps": [state.steps for state in self.trainer.state.speakers],
        }

    def meetings(self, step, batches):
        """Where replicas meet in the step's graph.

        Collective operations, and edges from an operation of one replica to
        one of another: virtual CPUs sum up without a collective.
        """
        if self.replicas.is_plain:
            return []
        graph = step.graph(*next(iter(batches.values())))
        definition = graph.as_graph_def()
        nodes = [*definition.node]
        for function in definition.library.function:
            nodes += function.node_def
        found = {n.op for n in nodes if "Collective" in n.op or "Nccl" in n.op}
        for operation in graph.get_operations():
            for tensor in operation.inputs:
                devices = {tensor.op.device, operation.device} - {""}
                if len(devices) > 1:
                    found.add(f"{tensor.op.type} to {operation.type}")
        return sorted(found)


def some_of(whole, count):
    """A strategy of the first devices of a whole one."""
    if count is None or count == whole.num_replicas_in_sync:
        return whole
    if count == 1:
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("CPU")[:count]
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def main():
    jobs = json.loads(sys.argv[1])
    counts = [told["replicas"] for told in jobs if told.get("replicas")]
    whole = strategy.create(virtual_cpus=max(counts, default=None))
    for told in jobs:
        print(json.dumps(Job(told, whole).run()), flush=True)


if __name__ == "__main__":
    main()
