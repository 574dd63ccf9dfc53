"""The files of a run; this folder's README.md lists them."""

import contextlib
import fcntl
import json
import os
import posixpath
import secrets
import shutil
import time
from collections import abc
from typing import Any

import tensorflow as tf
from absl import logging

from lingvo_like import files, folders, hyperparams, json_values
from lingvo_like.submodel import file as submodel_file
from params import schema
from tasks.asr.data import check_cache
from tasks.asr.training import checkpoint
from tpu.distribute import processes as processes_lib

# Room for what is written besides checkpoints.
_SPARE_BYTES = 16 * 2**20
# Of a Submodel file, and what a disk rounds up to.
_METADATA_BYTES = 8192
# How long a client of a network file system may show an older listing.
_CACHED_SECONDS = 60.0
# The types of what `experiment.json` must hold.
_DESCRIPTION = {
    "program": str,
    "experiment": str,
    "values": dict,
    "base": str,
    "base_fingerprint": str,
    "data": dict,
}


class ModelDirectory:
    """The folder or bucket of one run, with the paths of the files above.

    Attributes:
        activations: folder of the frozen activations, where they are cached.
        started_from: folder of the Submodels that the speakers go on from.
        cohort: folder of the run that trained the cohorts.
    """

    STARTED_FROM = "started_from"

    def __init__(self, path: str):
        if not path:
            raise ValueError("--model_dir is empty; name a folder for the run")
        self.path = path
        self.checkpoints = posixpath.join(path, "checkpoints")
        self.tensorboard = posixpath.join(path, "tensorboard")
        self.submodels = posixpath.join(path, "submodels")
        self.space = posixpath.join(path, "space.safetensors")
        self.activations = posixpath.join(path, "activations")
        self.started_from = posixpath.join(path, self.STARTED_FROM)
        self.cohort = posixpath.join(path, "cohort")
        self.evaluation = posixpath.join(path, "evaluation")
        self.history = posixpath.join(path, "history.jsonl")
        self.texts = posixpath.join(path, "train_texts.json")
        self.left_out = posixpath.join(path, "left_out.txt")
        self.checks = posixpath.join(path, check_cache.NAME)
        self.experiment = posixpath.join(path, "experiment.json")

    def in_folder(self, name: str) -> str:
        """The path of another file of the folder."""
        return posixpath.join(self.path, name)

    def submodel(self, speaker: str) -> str:
        """The path of a speaker's Submodel file."""
        return posixpath.join(self.submodels, submodel_file.file_name(speaker))

    def has_submodels(self) -> bool:
        """Whether the run has written a Submodel file."""
        return tf.io.gfile.exists(self.submodels) and bool(
            tf.io.gfile.listdir(self.submodels)
        )

    @contextlib.contextmanager
    def open(
        self, processes: processes_lib.Processes | None = None
    ) -> abc.Iterator[None]:
        """Locks the folder for a job, all of whose processes can write to it.

        A start that fails before the run is described leaves no new folder.

        Raises:
            OSError: another run is using the folder, or a process cannot write
                to it.
        """
        processes = processes or processes_lib.Processes()
        with contextlib.ExitStack() as stack:
            if processes.is_chief:
                stack.enter_context(self._tidy_after_failure())
                check_writable(self.path, "the model directory")
                stack.enter_context(self.lock())
                self.prepare()
            self.check_shared(processes)
            yield

    @contextlib.contextmanager
    def _tidy_after_failure(self):
        made = self.path, self.submodels, self.checkpoints
        is_new = not files.exists(self.checks) and not files.exists(
            self.left_out
        )
        with folders.tidy_after_failure(*made):
            try:
                yield
            except BaseException:
                if is_new and not files.exists(self.experiment):
                    for path in (self.checks, self.left_out, self.texts):
                        with contextlib.suppress(OSError):
                            os.remove(path)
                    shutil.rmtree(self.started_from, ignore_errors=True)
                raise

    def begin_anew(self) -> None:
        """Removes what a run leaves that goes on from its own Submodels.

        The Submodels stay, until others take their places.
        """
        for folder in (self.checkpoints, self.tensorboard):
            if tf.io.gfile.isdir(folder):
                tf.io.gfile.rmtree(folder)
        tf.io.gfile.makedirs(self.checkpoints)

    def prepare(self) -> None:
        """Makes the folders, and removes what a killed process was writing."""
        for folder in (self.path, self.submodels, self.checkpoints):
            check_writable(folder, "the model directory")
            for name in tf.io.gfile.listdir(folder):
                if name.startswith(files.TEMPORARY_PREFIX):
                    tf.io.gfile.remove(posixpath.join(folder, name))

    @contextlib.contextmanager
    def lock(self) -> abc.Iterator[None]:
        """Keeps other processes of this machine out of the folder.

        A process that is killed leaves no lock behind.
        """
        if not files.is_local(self.path):
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OSError(
                f"{self.path}: another process is training in it; wait until "
                f"it has finished, or name another --model_dir"
            ) from None
        except OSError as error:
            # Some network file systems lock no folders.
            logging.warning("%s: not locked: %s", self.path, error.strerror)
        try:
            yield
        finally:
            os.close(descriptor)

    def check_shared(self, processes: processes_lib.Processes) -> None:
        """Shows that all processes of a job write to the same folder."""
        if processes.count == 1:
            return
        name = processes.gather(secrets.token_hex(8))[0]
        probe = posixpath.join(self.path, f"{files.TEMPORARY_PREFIX}{name}")
        if processes.is_chief:
            files.write_atomically(probe, b"probe")
        processes.gather()
        seen = processes.gather(_appears(probe))
        if processes.is_chief:
            tf.io.gfile.remove(probe)
        if not all(seen):
            blind = [str(index) for index, sees in enumerate(seen) if not sees]
            raise OSError(
                f"{self.path}: process {', '.join(blind)} of TF_CONFIG's "
                f"{processes.count} does not see what process 0 writes there; "
                "name a folder or a bucket that all of them share"
            )
        check_writable(self.path, "the model directory")

    def check_disk_space(
        self,
        variables: abc.Iterable[Any],
        num_submodels: int = 0,
        submodel_bytes: int = 0,
    ) -> None:
        """Refuses a disk on which a run's results do not fit.

        Args:
            variables: of a checkpoint.
            submodel_bytes: of the weights in a Submodel file.

        Raises:
            OSError: says how much is needed and how much is free.
        """
        if not files.is_local(self.path):
            return
        num_bytes = sum(
            v.shape.num_elements() * v.dtype.size for v in variables
        )
        # An old checkpoint is removed once its successor is complete.
        copies = max(1, 3 - checkpoint.count(self.checkpoints))
        missing = num_submodels - len(tf.io.gfile.listdir(self.submodels))
        # Whatever else is written is small beside this.
        needed = copies * num_bytes + _SPARE_BYTES
        needed += max(0, missing) * (submodel_bytes + _METADATA_BYTES)
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise OSError(
                f"{self.path}: not enough space: checkpoints and Submodels "
                f"need {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are "
                f"free; make room or name another --model_dir"
            )

    def read_experiment(self) -> dict[str, Any] | None:
        """Reads the run's description; None in a new directory.

        Raises:
            ValueError: the file is damaged, or missing beside checkpoints.
            OSError: it cannot be read.
        """
        if not tf.io.gfile.exists(self.experiment):
            if tf.io.gfile.exists(self.checkpoints) and tf.io.gfile.listdir(
                self.checkpoints
            ):
                raise ValueError(
                    f"{self.experiment} is missing, so the checkpoints beside "
                    f"it cannot be identified; restore it or train into "
                    f"another --model_dir"
                )
            return None
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = files.read(self.experiment).decode()
            saved = json_values.strict_json(text)
            if all(isinstance(saved[k], t) for k, t in _DESCRIPTION.items()):
                return saved
        raise ValueError(
            f"{self.experiment}: not a run's description; restore it or "
            f"train into another --model_dir"
        )

    def write_experiment(self, description: dict[str, Any]) -> None:
        """Writes what `run_description.describe` returned."""
        text = json.dumps(description, indent=2) + "\n"
        files.write_atomically(self.experiment, text.encode())

    def saved_values(
        self, saved: dict[str, Any], template: schema.Experiment
    ) -> schema.Experiment:
        """The hyperparameters of the run that `read_experiment` returned.

        Raises:
            ValueError: they are not those of the registered `template`; names
                the file and the key.
        """
        try:
            return hyperparams.from_dict(template, saved["values"])
        except ValueError as error:
            raise ValueError(f"{self.experiment}: {error}") from None

    def read_history(self) -> list[dict[str, Any]]:
        """The learning curves that training wrote, or an empty list.

        Raises:
            ValueError: a line is damaged.
        """
        if not tf.io.gfile.exists(self.history):
            return []
        rows = []
        lines = files.read(self.history).splitlines()
        for number, line in enumerate(lines, start=1):
            row = _json_or_none(line)
            if not isinstance(row, dict) or not {"speaker", "step"} <= set(row):
                raise ValueError(
                    f"{self.history}:{number}: not a line of learning "
                    f"curves; remove the file to do without them"
                )
            rows.append(row)
        return rows

    def write_texts(self, texts: dict[str, list[str]]) -> None:
        """Writes each speaker's texts, by which phrases are seen or unseen."""
        data = json.dumps(texts, ensure_ascii=False, indent=0)
        files.write_atomically(self.texts, data.encode())

    def read_texts(self) -> dict[str, list[str]]:
        """Reads the texts that each speaker trained on.

        Raises:
            OSError: the file is missing.
            ValueError: it is damaged.
        """
        texts = _json_or_none(files.read(self.texts))
        if not isinstance(texts, dict) or not all(
            isinstance(each, list) for each in texts.values()
        ):
            raise ValueError(
                f"{self.texts}: not the texts of training; the same command "
                f"of tasks.train writes it again"
            )
        return texts

    def write_left_out(self, text: str) -> None:
        """Writes the account of what is not used."""
        files.write_atomically(self.left_out, text.encode())


def check_writable(folder: str, what: str) -> None:
    """Makes a folder, and shows that files can be written to it.

    Raises:
        OSError: `what`, as the message calls it, cannot be written.
    """
    with _naming(folder, what):
        tf.io.gfile.makedirs(folder)
        files.try_writing(folder)


def check_could_be_written(folder: str, what: str) -> None:
    """As `check_writable`, and leaves a folder unmade that is not there."""
    with _naming(folder, what):
        files.try_writing(folder)


@contextlib.contextmanager
def _naming(folder, what):
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(
            getattr(error, "message", error)
        )
        reason = reason.removeprefix("cannot write: ")
        raise OSError(f"{folder}: {what} cannot be written: {reason}") from None


def _appears(path: str) -> bool:
    """Whether a file is there, or comes within what a client may cache."""
    deadline = time.monotonic() + _CACHED_SECONDS
    while not tf.io.gfile.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True


def _json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
