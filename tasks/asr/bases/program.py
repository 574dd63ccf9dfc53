"""Training a base model in a folder, from first to last."""

import json
import os

import keras

from lingvo_like import files
from lingvo_like.base_models import base_model
from params import schema
from tasks.asr import base_loading
from tasks.asr.bases import training
from tasks.asr.data import preparation, rejections
from tasks.asr.training import model_directory, run_description


def train(
    name: str,
    experiment: schema.Experiment,
    train_manifest: str,
    model_dir: str,
    *,
    base_path: str = "",
    dev_manifest: str = "",
    strict: bool = False,
) -> str:
    """Trains a base model in a folder, or continues the run that is there.

    Args:
        name: the experiment's registered name.
        experiment: with all overrides; its `base` and `base_training` count.
        base_path: base model to start from; random weights if empty.
        dev_manifest: for the dev loss; may be empty.
        strict: refuse to train if any utterance is unusable.

    Returns:
        The folder of the base model.

    Raises:
        ValueError: nothing can be trained, or the folder has another run.
        OSError: a file cannot be read or written.
    """
    directory = model_directory.ModelDirectory(model_dir)
    saved = directory.read_experiment()
    with directory.open():
        base = _load_or_create(experiment, base_path)
        left_out = rejections.Rejections()
        read = preparation.reader(base, experiment, left_out, directory.path)
        train_data = read(
            train_manifest, speed_factors=experiment.augment.speed_factors
        )
        preparation.remark_on_labels(base, train_manifest, train_data, left_out)
        dev_data = read(dev_manifest) if dev_manifest else {}
        print(left_out.describe(), end="")
        if strict:
            left_out.raise_if_any("the manifests")
        if not train_data:
            raise ValueError(
                f"{train_manifest}: nothing usable to train on: "
                f"{left_out.summary()}"
            )
        description = run_description.describe(
            name,
            experiment,
            base_path or "random weights",
            base.fingerprint(),
            {
                speaker: preparation.digest(
                    train_data[speaker], dev_data.get(speaker, [])
                )
                for speaker in sorted(train_data)
            },
            run_description.TRAIN_BASE,
        )
        if saved is not None:
            run_description.check_agreement(
                directory.path, saved, description, experiment
            )
        trainer = training.BaseTrainer(
            base, experiment.base_training, experiment.augment
        )
        directory.check_disk_space(trainer.state.values())
        directory.write_left_out(left_out.describe(examples=None))
        directory.write_experiment(description)
        history = trainer.run(train_data, dev_data, directory.checkpoints)
        lines = "".join(json.dumps(row) + "\n" for row in history)
        files.write_atomically(directory.history, lines.encode())
        output = _save(base, experiment, directory)
        print(f"base model: {output}\nfingerprint: {base.fingerprint()}")
    return output


def _load_or_create(
    experiment: schema.Experiment, path: str
) -> base_model.BaseModel:
    if path:
        return base_loading.load(experiment.base, path)
    # After an interruption without a checkpoint, the same start.
    keras.utils.set_random_seed(experiment.base_training.seed)
    return base_loading.create(experiment.base)


def _save(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    directory: model_directory.ModelDirectory,
) -> str:
    """Writes the base model, unless it is there already; returns its folder."""
    output = os.path.join(directory.path, "base")
    done = os.path.isdir(output) and base_loading.load(experiment.base, output)
    if not done or done.fingerprint() != base.fingerprint():
        base.save(output)
    return output
