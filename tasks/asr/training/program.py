"""Training the Submodels of a manifest's speakers, from first to last."""

import os
import sys
from collections import abc

import numpy as np
from absl import logging

from lingvo_like import files
from params import schema
from tasks import tables
from tasks.asr import base_loading
from tasks.asr.data import preparation
from tasks.asr.training import (
    continuation,
    job_state,
    model_directory,
    replica_batches,
    run_description,
    space_initialization,
    space_training,
    speaker_state,
    submodel_files,
    trainer,
)
from tpu.distribute import replicas as replicas_lib


def train(
    name: str,
    experiment: schema.Experiment,
    train_manifest: str,
    model_dir: str,
    *,
    base_path: str = "",
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    space_from: str = "",
    strict: bool = False,
    replicas: replicas_lib.Replicas | None = None,
) -> model_directory.ModelDirectory:
    """Trains a job in a folder, or continues the one that is there.

    Args:
        name: the experiment's registered name.
        experiment: with all overrides.
        model_dir: folder or bucket of the run.
        base_path: a base model's directory or preset; that of the run in
            `model_dir` if empty.
        dev_manifest: for early stopping and the best weights; may be empty.
        speakers: to train or continue; all if empty.
        space_from: the run that a space starts from.
        strict: refuse to train if any utterance is unusable.
        replicas: that share the job; None for one.

    Raises:
        ValueError: the request makes no sense, nothing can be trained, or the
            folder has another run.
        OSError: a file cannot be read or written.
        set_aside.SetAsideError: the others are done, and these speakers are
            not, since their recordings are gone or are others now.
        preemption.Stopped: SIGTERM or Ctrl-C came; the checkpoint holds
            everything.
    """
    _check_request(experiment, model_dir, speakers, space_from)
    replicas = replicas or replicas_lib.Replicas()
    is_chief = replicas.processes.is_chief
    directory = model_directory.ModelDirectory(model_dir)
    with directory.open(replicas.processes):
        saved = directory.read_experiment()
        base_path = base_path or (saved or {}).get("base", "")
        if not base_path:
            raise ValueError("--base is missing: a new run needs a base model")
        if os.path.isdir(base_path):
            # So that other commands find it, whatever folder they run in.
            base_path = os.path.abspath(base_path)
        with replicas.scope():
            base = base_loading.load(
                experiment.base, base_path, experiment.train.compute_dtype
            )
        corpus = preparation.prepare(
            base,
            experiment,
            train_manifest,
            dev_manifest,
            strict,
            checks_folder=directory.path,
        )
        if is_chief:
            print(corpus.left_out.describe(), end="", file=sys.stderr)
        origin = submodel_files.Origin(
            name,
            base.fingerprint(),
            base.description() | {"num_parameters": base.count_params()},
        )
        description = run_description.describe(
            name, experiment, base_path, origin.base_fingerprint, corpus.digests
        ) | {
            "num_tokens": replica_batches.longest_transcript(
                base, corpus.train.values()
            )
        }
        _check_processes(replicas, description, speakers, space_from)
        continued = continuation.of_run(
            directory, saved, description, corpus, experiment
        )
        corpus = continued.corpus
        selected = _slots(speakers, corpus, train_manifest)
        # Nothing of the run is written until the whole job has been made.
        state = job_state.create(
            base, experiment, corpus.train, replicas, corpus.speakers
        )
        if is_chief:
            directory.check_disk_space(
                state.variables.values(),
                len(state.speakers),
                state.task.stack.layout.num_values
                * np.dtype(experiment.train.submodel_dtype).itemsize,
            )
        _start(state, directory, corpus, origin, space_from)
        if is_chief:
            _describe_run(directory, continued)
            print(_summary(state, selected))
        made = trainer.Trainer(
            state,
            corpus.train,
            corpus.dev,
            directory,
            origin,
            selected,
            continued.description["num_tokens"],
        )
        _set_aside(made, continued)
        made.run()
        if is_chief:
            _finish(state, directory, corpus, origin, made)
        # No process ends before the chief has written everything.
        replicas.processes.gather()
    made.set_aside.raise_if_any()
    return directory


def _check_request(experiment, model_dir, speakers, space_from):
    if speakers and experiment.train.resident_speakers:
        raise ValueError(
            "--speakers chooses some of a run, and train.resident_speakers "
            "lets all of them take turns; train them all, or set it to 0"
        )
    if experiment.train.cache_activations and not files.is_local(model_dir):
        raise ValueError(
            "train.cache_activations keeps files on a disk of this machine; "
            "name a folder with --model_dir, or set it to false"
        )
    space_training.check_request(experiment.space, space_from, speakers)


def _slots(speakers, corpus, train_manifest):
    """The slots of the speakers asked for; None for all."""
    there = {data.speaker for data in corpus.train.values()}
    unknown = sorted(set(speakers) - there)
    if unknown:
        raise ValueError(
            f"--speakers names {', '.join(unknown)}, who have nothing to "
            f"train on in {train_manifest}"
        )
    return [corpus.speakers.index(each) for each in speakers] or None


def _check_processes(replicas, description, speakers, space_from):
    # Each machine may have the base model at a path of its own.
    given = {"base": "", "speakers": sorted(speakers), "space_from": space_from}
    replicas.processes.check_same(
        "the experiment, the base model, the recordings and the flags",
        description | given,
    )


def _start(state, directory, corpus, origin, space_from):
    """Continues from the newest checkpoint, or initialises a new space."""
    if state.restore(directory.checkpoints):
        logging.info("continuing from the checkpoint in %s", directory.path)
        return
    is_chief = state.sharding.replicas.processes.is_chief
    if is_chief and directory.has_submodels():
        print(
            f"warning: {directory.checkpoints} has no checkpoint any more, so "
            "all of the run is trained again",
            file=sys.stderr,
        )
    if state.task.experiment.space.embedding_dim:
        start = space_initialization.initialize(
            state.task, corpus.train, origin.base_fingerprint, space_from
        )
        if is_chief:
            print(start)


def _set_aside(made, continued):
    done = []
    for slot, reason in continued.set_aside.items():
        if not made.state.speakers[slot].finished:
            made.set_aside.add(slot, reason)
        elif reason == continuation.CHANGED:
            done.append(continued.corpus.speakers[slot])
    if done and made.state.sharding.replicas.processes.is_chief:
        print(
            f"warning: done before, and left as they are: {', '.join(done)}. "
            f"Since then, {continuation.CHANGED}",
            file=sys.stderr,
        )


def _describe_run(directory, continued):
    if continued.withdrawn:
        print(
            "not in the manifests any more, so left as they are: "
            f"{', '.join(continued.withdrawn)} (`tasks.store erase --run` "
            "takes people out of a run)",
            file=sys.stderr,
        )
    directory.write_left_out(continued.corpus.left_out.describe(examples=None))
    directory.write_texts(continuation.texts(directory, continued))
    directory.write_experiment(continued.description)


def _summary(state, selected):
    """One line on what trains, and where."""
    task, replicas = state.task, state.sharding.replicas
    num_speakers, residents = len(state.speakers), len(state.residents)
    some = f"{len(selected)} of " if selected else ""
    parts = [
        f"{some}{tables.counted(num_speakers, 'speaker')} x "
        f"{task.experiment.train.num_steps} updates",
        f"{task.stack.layout.num_values:,} values each",
    ]
    if not replicas.is_plain:
        parts[0] += f" on {replicas.num_replicas} replicas"
    if residents < num_speakers:
        parts.append(f"{residents:,} at a time")
    return ", ".join(parts)


def _finish(state, directory, corpus, origin, made):
    """Says what came out, and writes the space if there is one."""
    for warning in speaker_state.warnings(
        {
            corpus.speakers[slot]: state.speakers[slot]
            for slot in made.selected
            if slot not in made.set_aside.reasons
        }
    ):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"Submodels: {directory.submodels}")
    if state.task.experiment.space.embedding_dim:
        space_training.write(directory, state.task, corpus.train, origin)
        print(f"space: {directory.space}")
    print(
        f"Next: python -m tasks.evaluate --model_dir={directory.path} "
        "--test_manifest=data/test.jsonl\n"
        f"Next, to serve: python -m tasks.export --model_dir={directory.path} "
        "--export_dir=exports"
    )
