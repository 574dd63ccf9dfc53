"""Finds a Whisper's files and reads them, whatever their format."""

import dataclasses
import hashlib
import importlib
import json
import os
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like import files, folders
from lingvo_like.base_models.whisper import (
    architecture,
    ctranslate2,
    frontend,
    huggingface,
    languages,
    other_formats,
    packaged,
    tokenizer as whisper_tokenizer,
)

CTRANSLATE2_FILE = "model.bin"
SAFETENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
# Written by this project alone, beside the weights.
RECORD_FILE = "submodels_base.json"
# Of the files that a checkpoint may be made of.
_CONTENT_SUFFIXES = (".bin", ".json", ".safetensors", ".txt", ".h5")
_PRESET_PREFIXES = ("kaggle://", "hf://", "whisper_")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The contents of a directory or preset.

    Attributes:
        path: where they were found or belong.
        weights: by the names of `Whisper.named_weights`.
        record: the contents of `submodels_base.json`; empty without it.
    """

    path: str
    dimensions: architecture.Dimensions
    weights: dict[str, np.ndarray]
    tokenizer: whisper_tokenizer.WhisperTokenizer
    record: dict[str, Any]


def read(path: str) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: a CTranslate2 or Hugging Face directory, a KerasHub preset
            (directory, name or handle), or the name of weights that come as
            Python packages (`packaged.WHISPERS`).

    Raises:
        ValueError: there is no checkpoint, or it is damaged.
        OSError: a file of it cannot be read.
    """
    path = local_path(path)
    is_directory = _may_be_directory(path)

    def holds(name: str) -> bool:
        return is_directory and _exists(path, name)

    if is_directory and _holds_safetensors(path):
        return _read_huggingface(path)
    if holds(CTRANSLATE2_FILE):
        return _read_ctranslate2(path)
    for name, advice in other_formats.ADVICE.items():
        if holds(name):
            raise ValueError(
                f"{path}: no {SAFETENSORS_FILE} there. It has {name}: {advice}"
            )
    if holds(CONFIG_FILE) or path.startswith(_PRESET_PREFIXES):
        return _read_preset(path)
    raise ValueError(
        f"{path}: no Whisper there. A base is a directory with "
        f"{CTRANSLATE2_FILE} (CTranslate2), a directory with "
        f"{SAFETENSORS_FILE} (Hugging Face), a KerasHub preset such as "
        f"whisper_tiny_en, or {' or '.join(packaged.WHISPERS)}"
    )


def is_name(path: str) -> bool:
    """Whether a path only names weights, which lie in no folder of the user."""
    return path in packaged.WHISPERS or path.startswith(_PRESET_PREFIXES)


def outline(
    path: str,
) -> tuple[architecture.Dimensions | None, dict[str, Any]]:
    """The dimensions and the record of a checkpoint, without its weights.

    Args:
        path: see `read`.

    Returns:
        dimensions, None where they cannot be told before the weights are
        loaded; and the contents of `submodels_base.json`, empty without it.

    Raises:
        ValueError, OSError: as `read`, as far as it is seen.
    """
    path = local_path(path)
    if not _may_be_directory(path):
        return None, {}
    record = _read_record(path)
    if _holds_safetensors(path):
        return _huggingface_dimensions(path), record
    file = os.path.join(path, CTRANSLATE2_FILE)
    if files.is_local(path) and os.path.isfile(file):
        is_empty = not os.path.getsize(file)
        data = b"" if is_empty else np.memmap(file, np.uint8, "r").data
        return _parse(file, ctranslate2.dimensions, data), record
    return None, record


def known_languages(path: str) -> tuple[str, ...] | None:
    """The languages that a checkpoint can write, without its weights.

    Args:
        path: see `read`.

    Returns:
        as `BaseModel.languages`; None where it cannot be told before the
        weights are loaded.

    Raises:
        ValueError: its tokenizer is damaged.
    """
    folder = local_path(path)
    if not _may_be_directory(folder) or not _exists(folder, TOKENIZER_FILE):
        return None
    file = os.path.join(folder, TOKENIZER_FILE)
    special = _parse(file, whisper_tokenizer.special_tokens, files.read(file))
    return _parse(path, languages.of, special)


def content_digest(path: str) -> str:
    """SHA-256, in hex, of what a checkpoint is made of.

    It tells one checkpoint from another before either is loaded. Where the path
    is no local folder, it covers the name alone.
    """
    path = local_path(path)
    digest = hashlib.sha256()
    found = os.listdir(path) if os.path.isdir(path) else []
    names = sorted(n for n in found if n.endswith(_CONTENT_SUFFIXES))
    for name in names:
        file = os.path.join(path, name)
        digest.update(f"{name} {os.path.getsize(file)}\n".encode())
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    if not names:
        digest.update(path.encode())
    return digest.hexdigest()


def local_path(path: str) -> str:
    """The directory that a path, or a name of `packaged.WHISPERS`, stands for.

    Raises:
        ValueError, OSError: as `packaged.folder`.
    """
    path = os.fspath(path)
    return packaged.folder(path) if path in packaged.WHISPERS else path


def _may_be_directory(path: str) -> bool:
    """Whether a path is local or in a bucket, not the handle of a preset."""
    return files.is_local(path) or path.startswith("gs://")


def _exists(folder: str, name: str) -> bool:
    return tf.io.gfile.exists(os.path.join(folder, name))


def _holds_safetensors(folder: str) -> bool:
    return _exists(folder, SAFETENSORS_FILE) or _exists(folder, INDEX_FILE)


def _read_record(folder: str) -> dict[str, Any]:
    """The contents of `submodels_base.json`; empty without it."""
    if not _exists(folder, RECORD_FILE):
        return {}
    return _read_json(folder, RECORD_FILE)


def _parse(path: str, parser: abc.Callable[..., Any], *args: Any) -> Any:
    """`parser(*args)`, with the file named in the errors that it raises."""
    try:
        return parser(*args)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read_json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    value = _parse(path, json.loads, files.read(path))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must hold a JSON object")
    return value


def _read_tokenizer(folder: str):
    path = os.path.join(folder, TOKENIZER_FILE)
    if _exists(folder, TOKENIZER_FILE):
        text = files.read(path)
        return _parse(path, whisper_tokenizer.from_json, text)
    if not _exists(folder, "vocab.json"):
        raise ValueError(
            f"{folder}: no {TOKENIZER_FILE}, and no vocab.json with merges.txt"
        )
    merges = files.read(os.path.join(folder, "merges.txt")).decode("utf-8")
    added = {}
    if _exists(folder, "added_tokens.json"):
        added = _read_json(folder, "added_tokens.json")
    return _parse(
        os.path.join(folder, "vocab.json"),
        whisper_tokenizer.from_vocabulary,
        _read_json(folder, "vocab.json"),
        merges.split("\n"),
        added,
    )


def _read_ctranslate2(folder: str) -> Checkpoint:
    tokenizer = _read_tokenizer(folder)
    path = os.path.join(folder, CTRANSLATE2_FILE)
    dimensions, weights = _parse(path, ctranslate2.read, files.read(path))
    return Checkpoint(path, dimensions, weights, tokenizer, {})


def _read_huggingface(folder: str) -> Checkpoint:
    dimensions = _huggingface_dimensions(folder)
    tokenizer = _read_tokenizer(folder)
    record = _read_record(folder)
    names, path = [SAFETENSORS_FILE], os.path.join(folder, SAFETENSORS_FILE)
    if not _exists(folder, SAFETENSORS_FILE):
        path = os.path.join(folder, INDEX_FILE)
        names = _parse(path, huggingface.shards, files.read(path))
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
        tensors.update(_parse(path, huggingface.parse, data))
    convert = huggingface.weights_from_tensors
    weights = _parse(path, convert, tensors, dimensions)
    return Checkpoint(path, dimensions, weights, tokenizer, record)


def _huggingface_dimensions(folder: str) -> architecture.Dimensions:
    dimensions = _parse(
        os.path.join(folder, CONFIG_FILE),
        huggingface.dimensions_from_config,
        _read_json(folder, CONFIG_FILE),
    )
    if _exists(folder, PREPROCESSOR_FILE):
        _parse(
            os.path.join(folder, PREPROCESSOR_FILE),
            huggingface.check_frontend,
            _read_json(folder, PREPROCESSOR_FILE),
            dimensions,
        )
    return dimensions


def _read_preset(path: str) -> Checkpoint:
    try:
        # An optional dependency.
        kerashub = importlib.import_module(
            "lingvo_like.base_models.whisper.kerashub"
        )
    except ImportError as error:
        raise ValueError(
            f"{path}: a KerasHub preset needs KerasHub; install it with: "
            "pip install -e '.[whisper]'"
        ) from error
    try:
        dimensions, weights, tokenizer = kerashub.read(path)
    except Exception as error:
        # KerasHub, h5py and the download each raise types of their own.
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path}: cannot be read as a KerasHub preset: {reason}"
        ) from error
    return Checkpoint(path, dimensions, weights, tokenizer, {})


def write_huggingface(
    checkpoint: Checkpoint, beside: abc.Mapping[str, bytes] | None = None
) -> None:
    """Writes a directory that `read` and `transformers` read.

    It appears complete or not at all.

    Args:
        beside: other files to write into it, by name.

    Raises:
        FileExistsError: the directory is not empty.
        OSError: it cannot be written.
    """
    dimensions, tokenizer = checkpoint.dimensions, checkpoint.tokenizer
    data = huggingface.serialize(checkpoint.weights, dimensions)
    sha256 = {SAFETENSORS_FILE: hashlib.sha256(data).hexdigest()}
    record = {**checkpoint.record, "sha256": sha256}
    feature_extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": dimensions.num_bins,
        "hop_length": frontend.STEP_SAMPLES,
        "n_fft": frontend.WINDOW_SAMPLES,
        "sampling_rate": frontend.SAMPLE_RATE,
    }
    config = huggingface.config_from_dimensions(dimensions, tokenizer)
    contents = {
        SAFETENSORS_FILE: data,
        TOKENIZER_FILE: tokenizer.to_json().encode("utf-8"),
        PREPROCESSOR_FILE: _to_json(feature_extractor),
        RECORD_FILE: _to_json(record),
        CONFIG_FILE: _to_json(config),
    }
    folders.write_folder(checkpoint.path, {**contents, **(beside or {})})


def _to_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
