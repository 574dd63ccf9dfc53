"""Checkpoints of a job: complete, verified, or absent.

A checkpoint is a folder. Each variable is a safetensors file, so that a stack
of thousands never has a second copy in memory. `state.json` is written last, by
rename, and holds the SHA-256 of each file: a folder without it is no
checkpoint, and a truncated or altered file is noticed.

Tensors of slots are in slot order, whatever replicas trained them, so a run
continues under any number of replicas. Where several processes train, each
writes the rows of its own slots, and `state.json` lists them.
"""

import hashlib
import json
import posixpath
from collections import abc
from typing import Any

import numpy as np
import safetensors.numpy
import tensorflow as tf

from lingvo_like import files
from tpu.distribute import processes as processes_lib

STATE_FILE = "state.json"
FORMAT_VERSION = 2

# Variables, `SlotTensor`s and `SharedTensor`s: they have a `shape` and a
# `dtype`, convert to NumPy and take values by `assign`.
VariablesByName = abc.Mapping[str, Any]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def _folders(directory: str) -> list[str]:
    """The folders of checkpoints, complete or not, oldest first."""
    if not tf.io.gfile.isdir(directory):
        return []
    names = [name.strip("/") for name in tf.io.gfile.listdir(directory)]
    return [
        posixpath.join(directory, name)
        for name in sorted(names)
        if name.isdigit()
    ]


def _complete(directory: str) -> list[str]:
    return [
        folder
        for folder in _folders(directory)
        if tf.io.gfile.exists(posixpath.join(folder, STATE_FILE))
    ]


def count(directory: str) -> int:
    """The number of complete checkpoints."""
    return len(_complete(directory))


def save(
    directory: str,
    variables: VariablesByName,
    state: Any,
    keep: int = 2,
    processes: processes_lib.Processes | None = None,
) -> None:
    """Writes a checkpoint and removes old ones.

    Args:
        directory: of all checkpoints.
        variables: what has tensors.
        state: all the rest, as JSON holds it.
        keep: complete checkpoints to leave.
        processes: that save together; None for this one alone.
    """
    processes = processes or processes_lib.Processes()
    latest = max(_folders(directory), default="0")
    number = max(processes.gather(int(posixpath.basename(latest)) + 1))
    folder = posixpath.join(directory, f"{number:08d}")
    tf.io.gfile.makedirs(folder)
    parts = processes.gather(_write_part(folder, variables, processes))
    if processes.is_chief:
        text = json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "files": {
                    name: [
                        part["files"][name]
                        for part in parts
                        if name in part["files"]
                    ]
                    for name in variables
                },
                "slots": [part["slots"] for part in parts],
                "state": state,
            }
        )
        files.write_atomically(
            posixpath.join(folder, STATE_FILE), (_seal(text) + text).encode()
        )
        kept = _complete(directory)[-keep:]
        for old in _folders(directory):
            if old not in kept:
                tf.io.gfile.rmtree(old)
    # No process continues, or ends, before the checkpoint is complete.
    processes.gather()


def _write_part(
    folder: str,
    variables: VariablesByName,
    processes: processes_lib.Processes,
) -> dict[str, Any]:
    """Writes what this process has, and describes it."""
    part = {"files": {}, "slots": None}
    for index, (name, variable) in enumerate(sorted(variables.items())):
        suffix = ""
        if processes.count > 1:
            slots = getattr(variable, "slots", None)
            if slots is None and not processes.is_chief:
                continue
            if slots is not None:
                part["slots"] = slots.tolist()
                suffix = f"-{processes.index:04d}"
        data = safetensors.numpy.save({name: np.asarray(variable)})
        file_name = f"{index:04d}{suffix}.safetensors"
        files.write_atomically(posixpath.join(folder, file_name), data)
        part["files"][name] = [file_name, hashlib.sha256(data).hexdigest()]
    return part


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() + "\n"


def restore(
    directory: str,
    variables: VariablesByName,
    prepare: abc.Callable[[Any], None] = lambda state: None,
) -> Any:
    """Reads the newest complete checkpoint into the variables.

    Args:
        directory: of all checkpoints.
        variables: the checkpoint must hold exactly these.
        prepare: is given the saved state before the variables' shapes are
            compared.

    Returns:
        The saved state, or None where there is no checkpoint.

    Raises:
        CheckpointError: the checkpoint is truncated, altered, or of other
            variables.
    """
    complete = _complete(directory)
    if not complete:
        return None
    folder = complete[-1]
    saved = _read_state(posixpath.join(folder, STATE_FILE))
    if saved.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: format version {saved.get('format_version')!r}; this "
            f"program reads {FORMAT_VERSION}"
        )
    if saved["files"].keys() != variables.keys():
        odd = sorted(saved["files"].keys() ^ variables.keys())[:4]
        raise CheckpointError(
            f"{folder}: holds other variables than this job, such as "
            f"{', '.join(odd)}"
        )
    prepare(saved["state"])
    for name, variable in variables.items():
        value = _read_variable(folder, saved, name)
        if value.shape != tuple(variable.shape):
            raise CheckpointError(
                f"{folder}: {name} has shape {value.shape}, this job's has "
                f"{tuple(variable.shape)}"
            )
        variable.assign(value)
    return saved["state"]


def _read_variable(folder: str, saved: dict, name: str) -> np.ndarray:
    """Joins what the processes wrote of a variable."""
    values = [
        _read_tensor(posixpath.join(folder, file_name), name, digest)
        for file_name, digest in saved["files"][name]
    ]
    if len(values) == 1:
        return values[0]
    return np.concatenate(values)[np.argsort(np.concatenate(saved["slots"]))]


def _read_state(path: str) -> dict:
    seal, _, text = files.read(path).partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise CheckpointError(_damaged(path))
    return json.loads(text)


def _read_tensor(path: str, name: str, digest: str) -> np.ndarray:
    data = files.read(path) if tf.io.gfile.exists(path) else b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(_damaged(path))
    return safetensors.numpy.load(data)[name]


def _damaged(path: str) -> str:
    return (
        f"{path}: the checkpoint is truncated or was altered; remove the "
        f"folder {posixpath.dirname(path)} to continue from the one before it"
    )
