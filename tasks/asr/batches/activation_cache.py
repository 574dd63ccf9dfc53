"""The frozen activations below the lowest adapter, computed once and kept.

They are a function of the recording and of its padded length alone, so each is
a file named after both. A run that resumes finds its files, and a recording
that was replaced in the meantime has another name.
"""

import collections
import hashlib
import os
import shutil
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import files
from tasks.asr.batches import (
    input_pipeline,
    minibatch_schedule,
    padded_audio,
)
from tasks.asr.data import tfrecord

# Rows of every computation, so that it compiles once for each bucket.
ROWS = 8
# Stays free on the disk.
SPARE_BYTES = 16 * 2**20


class ActivationCache:
    """Serves batches whose lower activations come from files.

    Args:
        directory: a local folder.
        lower: from audio `[rows, samples]` and lengths `[rows]` to activations
            and paddings.
        loader: of everything but the audio.
        model_dim: the base model's.
    """

    def __init__(
        self,
        directory: str,
        lower: abc.Callable[[tf.Tensor, tf.Tensor], tuple[Any, Any]],
        loader: input_pipeline.Loader,
        model_dim: int,
    ):
        self._directory = directory
        self._lower = lower
        self._loader = loader
        self._model_dim = model_dim
        os.makedirs(directory, exist_ok=True)
        self._known = set(os.listdir(directory))
        self._stats = {}
        # Frames of each bucket that has a batch without a speaker.
        self._frames = {}

    def compute(self, groups: abc.Iterable[minibatch_schedule.Group]) -> None:
        """Computes what these groups need and the folder lacks.

        Raises:
            OSError: the files do not fit on the disk. The first rows show how
                large they are.
        """
        missing = collections.defaultdict(dict)
        for group in groups:
            if not group.minibatches and group.bucket not in self._frames:
                self._frames[group.bucket] = self._count_frames(group.bucket)
            for minibatch in group.minibatches:
                for index in minibatch.utterances:
                    utterance = self._utterance(minibatch, index)
                    name = self._file_name(utterance, group.bucket)
                    if name not in self._known:
                        missing[group.bucket][name] = utterance
        total = sum(len(names) for names in missing.values())
        samples = sum(bucket * len(names) for bucket, names in missing.items())
        is_checked = False
        with tqdm.tqdm(
            total=total, desc="frozen activations", disable=not total
        ) as progress:
            for bucket, utterances in sorted(missing.items()):
                rows = list(utterances.items())
                for i in range(0, len(rows), ROWS):
                    part = rows[i : i + ROWS]
                    computed = self._computed(bucket, part)
                    if not is_checked:
                        # Activations grow with the samples.
                        self._check_space(computed[0].nbytes * samples / bucket)
                        is_checked = True
                    for (name, _), row in zip(part, computed, strict=False):
                        path = os.path.join(self._directory, name)
                        files.write_atomically(path, row.tobytes())
                        self._known.add(name)
                    progress.update(len(part))

    def batch(self, group: minibatch_schedule.Group) -> dict[str, np.ndarray]:
        """The group's batch, with activations in place of the audio."""
        found = {
            (place, row): self._read(
                self._file_name(self._utterance(minibatch, index), group.bucket)
            )
            for place, minibatch in group.placed
            for row, index in enumerate(minibatch.utterances)
        }
        if found:
            frames = len(next(iter(found.values())))
        else:
            frames = self._frames[group.bucket]
        shape = (*self._loader.shape, frames)
        activations = np.zeros((*shape, self._model_dim), np.float32)
        paddings = np.ones(shape, np.float32)
        for where, both in found.items():
            activations[where] = both[:, :-1]
            paddings[where] = both[:, -1]
        batch = self._loader.batch(group, with_audio=False)
        batch["activations"] = activations
        batch["activation_paddings"] = paddings
        return batch

    def _count_frames(self, bucket):
        _, paddings = self._lower(
            tf.zeros([ROWS, bucket]), tf.zeros([ROWS], tf.int32)
        )
        return paddings.shape[1]

    def _utterance(self, minibatch, index):
        return self._loader.speakers[minibatch.slot].utterances[index]

    def _computed(self, bucket, rows):
        """Activations and paddings of some rows `[ROWS, time, dim + 1]`."""
        audio, lengths = padded_audio.read(
            (utterance for _, utterance in rows),
            self._loader.sample_rate,
            ROWS,
            bucket,
        )
        activations, paddings = self._lower(
            tf.constant(audio), tf.constant(lengths)
        )
        # Paddings ride along as one more column: a file is one array.
        return np.concatenate(
            [activations.numpy(), paddings.numpy()[..., None]], axis=-1
        )

    def _check_space(self, needed):
        free = shutil.disk_usage(self._directory).free
        if free < needed + SPARE_BYTES:
            raise OSError(
                f"{self._directory}: not enough space: the frozen activations "
                f"need {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are "
                "free; make room, or train with train.cache_activations=false"
            )

    def _read(self, name):
        """Activations and paddings of a file, as `_computed` has them."""
        path = os.path.join(self._directory, name)
        both = np.fromfile(path, np.float32)
        if not len(both) or len(both) % (self._model_dim + 1):
            raise ValueError(f"{path}: damaged; remove it to compute it again")
        return both.reshape(-1, self._model_dim + 1)

    def _file_name(self, utterance, bucket):
        path = utterance.audio_filepath
        identity = (path, utterance.offset, utterance.duration)
        text = "\x1f".join(map(str, (*identity, *self._stat(path))))
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{digest}-{bucket}.f32"

    def _stat(self, path):
        """Size and time of a recording's file, or of the shard that has it.

        A run looks at each file once.
        """
        record = tfrecord.parse(path)
        path = record[0] if record else path
        if path not in self._stats:
            stat = tf.io.gfile.stat(path)
            self._stats[path] = stat.length, stat.mtime_nsec
        return self._stats[path]
