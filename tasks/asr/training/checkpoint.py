"""Checkpoints of a job: complete, verified, or absent.

A checkpoint is a folder of safetensors files, one for each variable so that a
stack of thousands never has a second copy in memory, and `state.json`, which
is written last, by rename: a folder without it does not exist. It holds each
file's SHA-256, so a truncated or altered file is noticed before it trains.

Tensors of slots are in the order of the slots, whatever replicas trained them,
so a run goes on under any number of replicas. Where several processes train,
each writes the rows of its own slots, and `state.json` says whose they are.
"""

import hashlib
import json
import posixpath

import numpy as np
import safetensors.numpy
import tensorflow as tf

from lingvo_like import files
from tpu.distribute import workers as workers_lib

STATE_FILE = "state.json"
FORMAT_VERSION = 2
# In the first, a variable had one file, and there was one process.
READABLE_VERSIONS = (1, 2)


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


def count(directory):
    """How many complete checkpoints there are."""
    return sum(
        _is_complete(_folder(directory, number))
        for number in _numbers(directory)
    )


def save(directory, variables, state, keep=2, workers=None):
    """Writes a checkpoint and removes old ones.

    Args:
        directory: str, where checkpoints live.
        variables: dict of name to variable or `SlotTensor`.
        state: JSON-able dict, what is not in variables.
        keep: int, complete checkpoints to leave.
        workers: `Workers` that all save together, or None for this process.
    """
    workers = workers or workers_lib.Workers()
    number = max(_numbers(directory), default=0) + 1
    folder = _folder(directory, max(workers.gather(number)))
    tf.io.gfile.makedirs(folder)
    parts = workers.gather(_write_part(folder, variables, workers))
    if workers.is_chief:
        found = {
            name: [
                part["files"][name] for part in parts if name in part["files"]
            ]
            for name in variables
        }
        text = json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "files": found,
                "slots": [part["slots"] for part in parts],
                "state": state,
            }
        )
        files.write_atomically(
            posixpath.join(folder, STATE_FILE), (_seal(text) + text).encode()
        )
        _remove_old(directory, keep)
    # Nobody goes on, or ends, before it is complete.
    workers.gather()


def _write_part(folder, variables, workers):
    """Writes what this process has, and says what that is."""
    part = {"files": {}, "slots": None}
    for index, (name, variable) in enumerate(sorted(variables.items())):
        suffix = ""
        if workers.count > 1:
            slots = getattr(variable, "slots", None)
            if slots is None and not workers.is_chief:
                continue
            if slots is not None:
                part["slots"] = slots.tolist()
                suffix = f"-{workers.index:04d}"
        data = safetensors.numpy.save({name: np.asarray(variable)})
        file_name = f"{index:04d}{suffix}.safetensors"
        files.write_atomically(posixpath.join(folder, file_name), data)
        part["files"][name] = [file_name, hashlib.sha256(data).hexdigest()]
    return part


def _remove_old(directory, keep):
    complete = [
        n for n in _numbers(directory) if _is_complete(_folder(directory, n))
    ]
    for old in _numbers(directory):
        if old not in complete[-keep:]:
            tf.io.gfile.rmtree(_folder(directory, old))


def _seal(text):
    return hashlib.sha256(text.encode()).hexdigest() + "\n"


def restore(directory, variables, prepare=None):
    """Reads the newest complete checkpoint into the variables.

    Args:
        directory: str, where checkpoints live.
        variables: dict of name to variable or `SlotTensor`, all of which must
            be there.
        prepare: function of the state, called before it looks at the
            variables' shapes; or None.

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
    if saved.get("format_version") not in READABLE_VERSIONS:
        raise CheckpointError(
            f"{folder}: format version {saved.get('format_version')!r}; "
            f"this program reads {', '.join(map(str, READABLE_VERSIONS))}"
        )
    names = set(saved["files"])
    if names != set(variables):
        odd = sorted(names ^ set(variables))[:4]
        raise CheckpointError(
            f"{folder}: holds other variables than this job, such as "
            f"{', '.join(odd)}"
        )
    if prepare:
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


def _read_variable(folder, saved, name):
    """A variable, put together from what each process wrote."""
    parts = saved["files"][name]
    if saved["format_version"] == 1:
        parts = [parts]
    values = [
        _read_tensor(posixpath.join(folder, file_name), name, digest)
        for file_name, digest in parts
    ]
    if len(values) == 1:
        return values[0]
    return np.concatenate(values)[np.argsort(np.concatenate(saved["slots"]))]


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
