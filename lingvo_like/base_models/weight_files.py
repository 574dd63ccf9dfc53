"""A base model as a directory: `config.json` and `model.safetensors`.

The directory appears by rename, complete, and is never rewritten.
"""

import json

import keras
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from lingvo_like import files

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def save(model, arguments, directory, more_files=None):
    """Writes a model to a directory that did not exist.

    Args:
        model: a `BaseModel`.
        arguments: JSON-able dict, what `load` makes the model from.
        directory: path, local or `gs://`.
        more_files: dict of file name to bytes, more files to write.

    Returns:
        the fingerprint. Where the directory already holds this very model,
        nothing is written.

    Raises:
        FileExistsError: the directory holds something else.
    """
    config = {
        "arguments": arguments,
        "description": model.description(),
        "fingerprint": model.fingerprint(),
    }
    if not _holds(directory, config["fingerprint"]):
        weights = {
            name: keras.ops.convert_to_numpy(weight)
            for name, weight in model.named_weights().items()
        }
        _write(directory, config, weights, more_files or {})
    return config["fingerprint"]


def load(make, directory):
    """The model that `save` wrote, frozen.

    Args:
        make: function of the arguments that gives an untrained model.
        directory: path, local or `gs://`.

    Returns:
        the model, with `trainable = False`.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is truncated or altered.
    """
    config = _read_config(directory)
    try:
        model = make(dict(config["arguments"]))
        fingerprint = config["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{tf.io.gfile.join(directory, CONFIG)} does not describe a model "
            f"of this kind: {error!r}."
        ) from error
    named = model.named_weights()
    weights = _read_weights(
        directory, {name: weight.shape for name, weight in named.items()}
    )
    for name, weight in named.items():
        weight.assign(weights[name])
    if model.fingerprint() != fingerprint:
        raise ValueError(
            f"{directory} was altered: its weights and configuration have "
            f"fingerprint {model.fingerprint()}, {CONFIG} says {fingerprint}. "
            "Restore it from its source."
        )
    model.trainable = False
    return model


def _write(directory, config, weights, more_files):
    contents = {
        **more_files,
        WEIGHTS: safetensors.numpy.save(weights),
        CONFIG: json.dumps(config, indent=2, sort_keys=True).encode(),
    }
    try:
        files.write_folder(directory, contents)
    except FileExistsError:
        raise FileExistsError(
            f"{directory} exists; a base model is never rewritten. Give "
            "another directory or delete this one."
        ) from None


def _holds(directory, fingerprint):
    """Whether `directory` has a `config.json` of this fingerprint."""
    if not tf.io.gfile.exists(tf.io.gfile.join(directory, CONFIG)):
        return False
    return _read_config(directory).get("fingerprint") == fingerprint


def _read_config(directory):
    """The dict of `config.json`."""
    path = tf.io.gfile.join(directory, CONFIG)
    try:
        config = json.loads(files.read(path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object.")
    return config


def _read_weights(directory, shapes):
    """The float32 tensors of these names and shapes, and no others."""
    path = tf.io.gfile.join(directory, WEIGHTS)
    try:
        weights = safetensors.numpy.load(files.read(path))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file: {error}"
        ) from error
    missing = sorted(set(shapes) - set(weights))
    surplus = sorted(set(weights) - set(shapes))
    if missing or surplus:
        raise ValueError(
            f"{path} does not fit {CONFIG}: missing {missing[:5]}, "
            f"not expected {surplus[:5]}."
        )
    for name, value in weights.items():
        if value.shape != tuple(shapes[name]) or value.dtype != np.float32:
            raise ValueError(
                f"{path}: {name} is {value.dtype} {value.shape}, expected "
                f"float32 {tuple(shapes[name])}."
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity.")
    return weights
