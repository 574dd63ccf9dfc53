"""Trains the Submodels of all the speakers of a manifest, in one job.

    python -m tasks.train --experiment=whisper.ShortStacked --base=BASE \\
        --train_manifest=train.jsonl --dev_manifest=dev.jsonl --model_dir=RUN

Writes one file per speaker to RUN/submodels and, where the experiment learns
a speaker-embedding space, RUN/space.safetensors to enrol others in.
Interrupted at any moment, the same command goes on from the last checkpoint
to the same result. SIGTERM, which a machine that is taken away sends, saves one
first and exits with status 143.

Several GPUs, the chips of a TPU, or the processes that TF_CONFIG names share
the speakers, each training its own. With TF_CONFIG, start the same command on
every machine; --model_dir is a folder that all of them see.
"""

import sys

from absl import flags, logging

from lingvo_like import hyperparams
from params import registry
from tasks import cli, devices

flags.adopt_module_key_flags(devices)
_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Name of an experiment; see --list_experiments."
)
_LIST = flags.DEFINE_bool(
    "list_experiments", False, "Print the experiments and exit."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one value, such as adapter.bottleneck_dim=64."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "Folder of the run: made, or gone on with."
)
_TRAIN_MANIFEST = flags.DEFINE_string(
    "train_manifest", "", "JSONL manifest of the recordings to train on."
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest",
    "",
    "JSONL manifest for early stopping and the best checkpoint. Without it "
    "every speaker trains all steps and keeps the last weights.",
)
_BASE = flags.DEFINE_string(
    "base",
    "",
    "The base model: a directory, a preset's name, or tiny.en; that of the "
    "run, if empty and there is one.",
)
_SPEAKERS = flags.DEFINE_list(
    "speakers", [], "Train or continue only these speakers; all if empty."
)
_SPACE_FROM = flags.DEFINE_string(
    "space_from",
    "",
    "What a space starts from: with --set=space.initializer=stack a run of "
    "slots, trained with adapter.shared_start=true; with "
    "--set=space.initializer=space a run of a space, to fit its basis again.",
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to train if any utterance is unusable."
)


def main(_):
    if _LIST.value:
        print(registry.describe())
        return
    for flag in (_EXPERIMENT, _MODEL_DIR, _TRAIN_MANIFEST):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    experiment = hyperparams.override(
        registry.get(_EXPERIMENT.value), _SET.value
    )
    # Late, so that --help and a mistyped name answer at once.
    import numpy as np

    from lingvo_like.submodel import file as submodel_file
    from tasks.asr.bases import loading as base_loading
    from tasks.asr.data import preparation
    from tasks.asr.training import (
        model_directory,
        preemption,
        run_description,
        sharding,
        slot_state,
        space_initialization,
        space_training,
        speaker_state,
        task,
        trainer,
    )

    if _SPEAKERS.value and experiment.train.resident_speakers:
        cli.fail(
            "--speakers chooses some of a run, where train.resident_speakers "
            "lets all of them take turns; train them all, or set it to 0"
        )
    if experiment.train.cache_activations and "://" in _MODEL_DIR.value:
        cli.fail(
            "train.cache_activations keeps files on a disk of this machine; "
            "name a folder with --model_dir, or set it to false"
        )
    space_training.check_request(
        experiment.space, _SPACE_FROM.value, _SPEAKERS.value
    )
    directory = model_directory.ModelDirectory(_MODEL_DIR.value)
    saved = directory.read_experiment()
    base_path = _BASE.value or (saved or {}).get("base", "")
    if not base_path:
        cli.fail("--base is missing; see --help")
    replicas = devices.replicas()
    is_chief = replicas.processes.is_chief
    if is_chief:
        directory.lock()
        directory.prepare()
    # All have read, and the chief can write, before anything is written.
    directory.check_shared(replicas.processes)
    with replicas.scope():
        base = base_loading.load(
            experiment.base, base_path, experiment.train.compute_dtype
        )
    corpus = preparation.prepare(
        base,
        experiment,
        _TRAIN_MANIFEST.value,
        _DEV_MANIFEST.value,
        _STRICT.value,
    )
    if corpus.left_out and is_chief:
        print(corpus.left_out.describe(), file=sys.stderr)
    fingerprint = base.fingerprint()
    now = run_description.describe(
        _EXPERIMENT.value, experiment, base_path, fingerprint, corpus.digests
    )
    replicas.processes.check_same(
        "the experiment, the base model, the recordings and the flags",
        now
        | {
            "base": "",
            "speakers": sorted(_SPEAKERS.value),
            "space_from": _SPACE_FROM.value,
        },
    )
    if saved is not None:
        run_description.check_agreement(directory.path, saved, now, experiment)
    unknown = sorted(set(_SPEAKERS.value) - set(corpus.speakers))
    if unknown:
        cli.fail(
            f"--speakers names {', '.join(unknown)}, who have nothing to "
            f"train on in {_TRAIN_MANIFEST.value}"
        )
    # Before anything is written: a job that cannot be made leaves no trace.
    shards = sharding.shard(replicas, base, experiment, corpus.train)
    with replicas.scope():
        job = task.SubmodelTask(
            base, experiment, corpus.speakers, slot_rows=shards.slot_rows
        )
    state = slot_state.SlotState(job, shards)
    if is_chief:
        directory.check_space(
            state.by_name.values(),
            len(corpus.speakers),
            job.stack.layout.num_values
            * np.dtype(experiment.train.submodel_dtype).itemsize,
        )

    base_description = {
        **base.description(),
        "num_parameters": base.count_params(),
    }

    def make_submodel(speaker, training):
        return submodel_file.create(
            job.stack.layout,
            job.stack.row(job.stack.slot(speaker)),
            base_fingerprint=fingerprint,
            speaker=speaker,
            experiment=_EXPERIMENT.value,
            residual_weight=experiment.adapter.residual_weight,
            base_description=base_description,
            training=training,
        )

    run = trainer.Trainer(
        job,
        corpus.train,
        corpus.dev,
        directory,
        make_submodel,
        selected={job.stack.slot(name) for name in _SPEAKERS.value} or None,
        sharding=shards,
    )
    if run.restore():
        logging.info("going on from the checkpoint in %s", directory.path)
    elif experiment.space.embedding_dim:
        said = space_initialization.initialize(
            job, corpus.train, fingerprint, _SPACE_FROM.value
        )
        if is_chief:
            print(said)
    if is_chief:
        directory.write_left_out(corpus.left_out.describe(examples=None))
        directory.write_texts(
            {
                data.speaker: [utterance.text for utterance in data.utterances]
                for data in corpus.train.values()
            }
        )
        directory.write_experiment(now)
        shared = f" on {replicas.num_replicas} replicas"
        turns = f", {len(state.residents):,} at a time"
        print(
            f"{len(corpus.speakers)} speakers, "
            f"{job.stack.layout.num_values:,} values each, "
            f"{experiment.train.num_steps} updates each"
            f"{'' if replicas.is_plain else shared}"
            f"{turns if len(state.residents) < len(corpus.speakers) else ''}"
        )
    try:
        run.run()
    except preemption.Stopped:
        cli.stop(
            f"stopped by SIGTERM; the checkpoint in {directory.checkpoints} "
            "holds everything, and the same command goes on from it"
        )
    if is_chief:
        states = zip(corpus.speakers, run.states, strict=True)
        names = _SPEAKERS.value or corpus.speakers
        for warning in speaker_state.warnings(
            {name: state for name, state in states if name in names}
        ):
            print(f"warning: {warning}", file=sys.stderr)
        print(f"Submodels: {directory.submodels}")
    if is_chief and experiment.space.embedding_dim:
        space_training.write(
            directory,
            job,
            corpus.train,
            _EXPERIMENT.value,
            fingerprint,
            base_description,
        )
        print(f"space: {directory.space}")
    # Nobody leaves before the others have done.
    replicas.processes.gather()


if __name__ == "__main__":
    cli.run(main)
