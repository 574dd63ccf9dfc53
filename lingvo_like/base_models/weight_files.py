"""A base model as a folder of `config.json` and `model.safetensors`.

The folder appears complete, by rename, and is never rewritten.
"""

import json
from collections import abc
from typing import Any, TypeVar

import keras
import safetensors
import safetensors.numpy
import tensorflow as tf

from lingvo_like import files, folders
from lingvo_like.base_models import base_model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

Model = TypeVar("Model", bound=base_model.BaseModel)


def save(
    model: base_model.BaseModel,
    arguments: dict[str, Any],
    directory: str,
    more_files: dict[str, bytes],
) -> None:
    """Writes a model to a folder; see `BaseModel.save`.

    Args:
        arguments: JSON values that `load` passes to `make`.
        more_files: contents of other files of the folder, by name.
    """
    config = {
        "arguments": arguments,
        "description": model.description(),
        "fingerprint": model.fingerprint(),
    }
    weights = {
        name: keras.ops.convert_to_numpy(weight)
        for name, weight in model.named_weights().items()
    }
    contents = {
        **more_files,
        WEIGHTS: safetensors.numpy.save(weights),
        CONFIG: json.dumps(config, indent=2, sort_keys=True).encode(),
    }
    folders.write_folder(directory, contents)


def load(make: abc.Callable[[dict[str, Any]], Model], directory: str) -> Model:
    """Loads the model that `save` wrote, frozen.

    `make` makes a model of random weights from its arguments.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is truncated or altered.
    """
    path = tf.io.gfile.join(directory, CONFIG)
    content = files.read(path)
    try:
        config = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    try:
        model = make(dict(config["arguments"]))
        fingerprint = config["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not describe a model of this kind: {error!r}."
        ) from error
    path = tf.io.gfile.join(directory, WEIGHTS)
    content = files.read(path)
    try:
        weights = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file: {error}"
        ) from error
    model.assign(weights, path)
    if model.fingerprint() != fingerprint:
        raise ValueError(
            f"{directory} was altered: its weights and configuration have "
            f"fingerprint {model.fingerprint()}, {CONFIG} says {fingerprint}. "
            "Restore it from its source."
        )
    model.trainable = False
    return model
