"""Checkpoints of a job: complete, verified, or absent.

A checkpoint is a folder of safetensors files, one for each variable so that a
stack of thousands never has a second copy in memory, and `state.json`, which
is written last, by rename: a folder without it does not exist. It holds each
file's SHA-256, so a truncated or altered file is noticed before it trains.
"""

import hashlib
import json
import posixpath

import numpy as np
import safetensors.numpy
import tensorflow as tf

from lingvo_like import files

STATE_FILE = "state.json"
FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def _numbers(directory):
    if not tf.io.gfile.isdir(directory):
        return []
    names = [name.strip("/") for name in tf.io.gfile.listdir(directory)]
    return sorted(int(name) for name in names if name.isdigit())


def _folder(directory, number):
    return posixpath.join(directory, f"{number:08d}")


def _is_complete(folder):
    return tf.io.gfile.exists(posixpath.join(folder, STATE_FILE))


def save(directory, variables, state, keep=2):
    """Writes a checkpoint and removes old ones.

    Args:
        directory: str, where checkpoints live.
        variables: dict of name to variable.
        state: JSON-able dict, what is not in variables.
        keep: int, complete checkpoints to leave.
    """
    folder = _folder(directory, max(_numbers(directory), default=0) + 1)
    tf.io.gfile.makedirs(folder)
    digests = {}
    for index, (name, variable) in enumerate(sorted(variables.items())):
        data = safetensors.numpy.save({name: np.asarray(variable)})
        file_name = f"{index:04d}.safetensors"
        files.write_atomically(posixpath.join(folder, file_name), data)
        digests[name] = [file_name, hashlib.sha256(data).hexdigest()]
    text = json.dumps(
        {"format_version": FORMAT_VERSION, "files": digests, "state": state}
    )
    files.write_atomically(
        posixpath.join(folder, STATE_FILE), (_seal(text) + text).encode()
    )
    complete = [
        n for n in _numbers(directory) if _is_complete(_folder(directory, n))
    ]
    for old in _numbers(directory):
        if old not in complete[-keep:]:
            tf.io.gfile.rmtree(_folder(directory, old))


def _seal(text):
    return hashlib.sha256(text.encode()).hexdigest() + "\n"


def restore(directory, variables):
    """Reads the newest complete checkpoint into the variables.

    Args:
        directory: str, where checkpoints live.
        variables: dict of name to variable, all of which must be there.

    Returns:
        The state that was saved, or None where there is no checkpoint.

    Raises:
        CheckpointError: truncated, altered, or of other variables.
    """
    complete = [
        n for n in _numbers(directory) if _is_complete(_folder(directory, n))
    ]
    if not complete:
        return None
    folder = _folder(directory, complete[-1])
    saved = _read_state(posixpath.join(folder, STATE_FILE))
    if saved.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: format version {saved.get('format_version')!r}; "
            f"this program reads {FORMAT_VERSION}"
        )
    names = set(saved["files"])
    if names != set(variables):
        odd = sorted(names ^ set(variables))[:4]
        raise CheckpointError(
            f"{folder}: holds other variables than this job, such as "
            f"{', '.join(odd)}"
        )
    for name, variable in variables.items():
        file_name, digest = saved["files"][name]
        path = posixpath.join(folder, file_name)
        value = _read_tensor(path, name, digest)
        if value.shape != tuple(variable.shape):
            raise CheckpointError(
                f"{path}: {name} has shape {value.shape}, this job's has "
                f"{tuple(variable.shape)}"
            )
        variable.assign(value)
    return saved["state"]


def _read_state(path):
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    seal, _, text = data.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise CheckpointError(_damaged(path))
    return json.loads(text)


def _read_tensor(path, name, digest):
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            data = file.read()
    except tf.errors.NotFoundError:
        raise CheckpointError(_damaged(path)) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(_damaged(path))
    return safetensors.numpy.load(data)[name]


def _damaged(path):
    return (
        f"{path}: the checkpoint is truncated or was altered; remove the "
        f"folder {posixpath.dirname(path)} to go on from the one before it"
    )
