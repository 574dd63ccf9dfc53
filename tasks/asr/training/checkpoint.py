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


def _folders(directory):
    """The folders of checkpoints, complete or not, oldest first."""
    if not tf.io.gfile.isdir(directory):
        return []
    names = [name.strip("/") for name in tf.io.gfile.listdir(directory)]
    numbers = sorted(name for name in names if name.isdigit())
    return [posixpath.join(directory, name) for name in numbers]


def _complete(directory):
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
    processes: processes_lib.Processes | None = None,
) -> None:
    """Writes a checkpoint and leaves one older one.

    Args:
        directory: of all checkpoints.
        state: all that has no tensors, as JSON holds it.
        processes: that save together; None for this one alone.
    """
    processes = processes or processes_lib.Processes()
    latest = max(_folders(directory), default="0")
    if processes.count == 1:
        # What did not fit on the disk makes room. Others may be writing theirs.
        _keep(directory, 2)
    number = max(processes.gather(int(posixpath.basename(latest)) + 1))
    folder = posixpath.join(directory, f"{number:08d}")
    tf.io.gfile.makedirs(folder)
    parts = processes.gather(_write_part(folder, variables, processes))
    if processes.is_chief:
        of_parts = [part["files"] for part in parts]
        content = {
            "format_version": FORMAT_VERSION,
            "files": {
                name: [found[name] for found in of_parts if name in found]
                for name in variables
            },
            "slots": [part["slots"] for part in parts],
            "state": state,
        }
        text = json.dumps(content).encode()
        seal = hashlib.sha256(text).hexdigest().encode()
        files.write_atomically(
            posixpath.join(folder, STATE_FILE), seal + b"\n" + text
        )
        _keep(directory, 2)
    # No process continues, or ends, before the checkpoint is complete.
    processes.gather()


class Saved:
    """A variable of a checkpoint, read when it is asked for."""

    def __init__(self, folder: str, content: dict, name: str):
        self._folder, self._content, self._name = folder, content, name

    def read(self) -> np.ndarray:
        """The value; a CheckpointError if a file was altered."""
        return _read_variable(self._folder, self._content, self._name)


def read(directory: str) -> tuple[Any, dict[str, Saved]] | None:
    """State and variables of the newest complete checkpoint; None without one.

    Raises:
        CheckpointError: it is truncated or altered.
    """
    complete = _complete(directory)
    if not complete:
        return None
    content = _read_content(complete[-1])
    names = content["files"]
    return content["state"], {
        name: Saved(complete[-1], content, name) for name in names
    }


def keep_newest(directory: str) -> None:
    """Removes all checkpoints but the newest complete one."""
    _keep(directory, 1)


def _keep(directory, most):
    """Removes all but so many complete checkpoints, the newest."""
    kept = _complete(directory)[-most:]
    for old in _folders(directory):
        if old not in kept:
            _remove(old)


def _remove(folder):
    # Without its state, what is left of a folder is no checkpoint.
    state = posixpath.join(folder, STATE_FILE)
    if tf.io.gfile.exists(state):
        tf.io.gfile.remove(state)
    tf.io.gfile.rmtree(folder)


def _write_part(folder, variables, processes):
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


def restore(
    directory: str,
    variables: VariablesByName,
    prepare: abc.Callable[[Any], None] = lambda state: None,
) -> Any:
    """Reads the newest complete checkpoint into the variables.

    Args:
        variables: the checkpoint must hold exactly these.
        prepare: is given the saved state before shapes are compared.

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
    saved = _read_content(folder)
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


def _read_content(folder):
    """The contents of the state file of a checkpoint."""
    path = posixpath.join(folder, STATE_FILE)
    seal, _, text = files.read(path).partition(b"\n")
    _check_digest(path, text, seal.decode(errors="replace"))
    saved = json.loads(text)
    if saved.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: format version {saved.get('format_version')!r}; this "
            f"program reads {FORMAT_VERSION}"
        )
    return saved


def _read_variable(folder, saved, name):
    """Joins what the processes wrote of a variable."""
    values = []
    for file_name, digest in saved["files"][name]:
        path = posixpath.join(folder, file_name)
        data = files.read(path) if tf.io.gfile.exists(path) else b""
        _check_digest(path, data, digest)
        values.append(safetensors.numpy.load(data)[name])
    if len(values) == 1:
        return values[0]
    return np.concatenate(values)[np.argsort(np.concatenate(saved["slots"]))]


def _check_digest(path, data, digest):
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{path}: the checkpoint is truncated or was altered; remove the "
            f"folder {posixpath.dirname(path)} to continue from the one before "
            "it"
        )
