"""Trains all the weights of a base model: from scratch, or from --base.

    python -m tasks.train_base --experiment=conformer.LibriSpeechS \\
        --train_manifest=train.jsonl --dev_manifest=dev.jsonl --model_dir=RUN

Writes the base model to RUN/base, for --base of the other commands. Leave the
speakers that will have Submodels out of it. The same command goes on after an
interruption.
"""

import json
import os

from absl import flags

from lingvo_like import hyperparams
from params import registry
from tasks import cli

_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Name of an experiment; its base and base_training count."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one value, such as base_training.num_steps=500."
)
_MODEL_DIR = flags.DEFINE_string("model_dir", "", "Folder of the run.")
_TRAIN_MANIFEST = flags.DEFINE_string(
    "train_manifest", "", "JSONL manifest to train on."
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest", "", "JSONL manifest of the dev loss; may be empty."
)
_BASE = flags.DEFINE_string(
    "base", "", "Base model to start from; random weights if empty."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to train if any utterance is unusable."
)


def main(_):
    for flag in (_EXPERIMENT, _MODEL_DIR, _TRAIN_MANIFEST):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    experiment = hyperparams.override(
        registry.get(_EXPERIMENT.value), _SET.value
    )
    from lingvo_like import files
    from tasks.asr.bases import loading as base_loading
    from tasks.asr.bases import training as base_training
    from tasks.asr.data import preparation, rejections
    from tasks.asr.training import model_directory, run_description

    directory = model_directory.ModelDirectory(_MODEL_DIR.value)
    saved = directory.read_experiment()
    directory.lock()
    directory.prepare()
    if _BASE.value:
        base = base_loading.load(experiment.base, _BASE.value)
    else:
        # The same random start after an interruption before a checkpoint.
        import keras

        keras.utils.set_random_seed(experiment.base_training.seed)
        base = base_loading.create(experiment.base)
    left_out = rejections.Rejections()
    factors = experiment.augment.speed_factors
    kept = (experiment.data.trim_silence, directory.path)
    train = preparation.read_speakers(
        base, _TRAIN_MANIFEST.value, left_out, factors, *kept
    )
    dev = {}
    if _DEV_MANIFEST.value:
        dev = preparation.read_speakers(
            base, _DEV_MANIFEST.value, left_out, (1.0,), *kept
        )
    print(left_out.describe(), end="")
    if _STRICT.value:
        left_out.raise_if_any("the manifests")
    if not train:
        cli.fail(
            f"{_TRAIN_MANIFEST.value}: nothing usable to train on: "
            f"{left_out.summary()}"
        )
    now = run_description.describe(
        _EXPERIMENT.value,
        experiment,
        _BASE.value or "random weights",
        base.fingerprint(),
        {
            name: preparation.digest(train[name], dev.get(name, []))
            for name in sorted(train)
        },
        run_description.TRAIN_BASE,
    )
    if saved is not None:
        run_description.check_agreement(directory.path, saved, now, experiment)
    trainer = base_training.BaseTrainer(
        base,
        experiment.base_training,
        experiment.augment,
        train,
        dev,
        directory.checkpoints,
    )
    directory.check_space(trainer.state.values())
    directory.write_left_out(left_out.describe(examples=None))
    directory.write_experiment(now)
    history = trainer.run()
    lines = "".join(json.dumps(row) + "\n" for row in history)
    files.write_atomically(directory.history, lines.encode())
    output = os.path.join(directory.path, "base")
    done = os.path.isdir(output) and base_loading.load(experiment.base, output)
    if not done or done.fingerprint() != base.fingerprint():
        base.save(output)
    print(f"base model: {output}\nfingerprint: {base.fingerprint()}")


if __name__ == "__main__":
    cli.run(main)
