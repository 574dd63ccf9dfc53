"""The frozen activations below the lowest site, computed once and kept.

They are a function of the recording and of its padded length alone, so each is
a file named after both. A run that resumes finds its files, and a recording
that was replaced in the meantime has another name. A file ends with a checksum,
by which a damaged one is noticed and made again.
"""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import os
import shutil
import sys
import threading
import zlib
from collections import abc
from typing import Any

import google_crc32c
import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import files
from tasks.asr.batches import (
    input_pipeline,
    minibatch_schedule,
    padded_audio,
)
from tasks.asr.data import manifest, rejections, tfrecord

# Rows of every computation, so that it compiles once for each bucket.
ROWS = 8
# Stays free on the disk.
SPARE_BYTES = 16 * 2**20
_CHECKSUM_BYTES = 4


@dataclasses.dataclass(frozen=True)
class _Item:
    """An utterance at a padded length: its file, and its row when computed."""

    name: str
    row: int
    slot: int
    utterance: manifest.Utterance
    bucket: int


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
        # Files are read in several threads.
        self._mending = threading.Lock()

    def compute(
        self,
        groups: abc.Iterable[minibatch_schedule.Group],
        pause: abc.Callable[[], object] = lambda: None,
    ) -> None:
        """Computes what these groups need and the folder lacks.

        Args:
            pause: called between computations; may raise.

        Raises:
            OSError: the files do not fit on the disk. The first rows show how
                large they are.
        """
        missing = collections.defaultdict(dict)
        for group in groups:
            if not group.minibatches:
                self._num_frames(group.bucket)
            for minibatch in group.minibatches:
                with self._losing(minibatch.slot):
                    for index in minibatch.utterances:
                        item = self._item(minibatch, index, group.bucket)
                        if item.name not in self._known:
                            missing[group.bucket][item.name] = item
        total = sum(len(names) for names in missing.values())
        samples = sum(bucket * len(names) for bucket, names in missing.items())
        is_checked = False
        with tqdm.tqdm(
            total=total, desc="frozen activations", disable=not total
        ) as progress:
            for bucket, items in sorted(missing.items()):
                for part in _by_row(items.values()):
                    computed = self._computed(bucket, part)
                    if computed and not is_checked:
                        # Activations grow with the samples.
                        num_bytes = next(iter(computed.values())).nbytes
                        self._check_space(num_bytes * samples / bucket)
                        is_checked = True
                    for name, row in computed.items():
                        self._write(name, row)
                    progress.update(len(part))
                    pause()

    def batch(self, group: minibatch_schedule.Group) -> dict[str, np.ndarray]:
        """The group's batch, with activations in place of the audio."""
        found = {}
        for place, minibatch in group.placed:
            with self._losing(minibatch.slot):
                rows = [
                    self._read(self._item(minibatch, index, group.bucket))
                    for index in minibatch.utterances
                ]
                found |= {(place, row): both for row, both in enumerate(rows)}
        if found:
            frames = len(next(iter(found.values())))
        else:
            frames = self._num_frames(group.bucket)
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

    @contextlib.contextmanager
    def _losing(self, slot):
        """Notes a slot whose recording cannot be read, as the loader does."""
        try:
            yield
        except rejections.UnusableError as error:
            if self._loader.lost is None:
                raise
            self._loader.lost.setdefault(slot, str(error))

    def _num_frames(self, bucket):
        if bucket not in self._frames:
            self._frames[bucket] = self._count_frames(bucket)
        return self._frames[bucket]

    def _count_frames(self, bucket):
        _, paddings = self._lower(
            tf.zeros([ROWS, bucket]), tf.zeros([ROWS], tf.int32)
        )
        return paddings.shape[1]

    def _item(self, minibatch, index, bucket):
        utterance = self._loader.speakers[minibatch.slot].utterances[index]
        path = utterance.audio_filepath
        identity = (path, utterance.offset, utterance.duration)
        text = "\x1f".join(map(str, (*identity, *self._stat(path))))
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        # The place decides how a row's sums are rounded. So it is the
        # utterance's own, whatever is computed beside it.
        row = zlib.crc32(utterance.utt_id.encode()) % ROWS
        name = f"{digest}-{bucket}-{row}.f32"
        return _Item(name, row, minibatch.slot, utterance, bucket)

    def _computed(self, bucket, part):
        """Activations and paddings `[time, dim + 1]` of some items, by name."""
        audio = np.zeros((ROWS, bucket), np.float32)
        lengths = np.zeros([ROWS], np.int32)
        read = []
        for item in part:
            with self._losing(item.slot):
                padded = padded_audio.read(
                    [item.utterance], self._loader.sample_rate, 1, bucket
                )
                audio[item.row], lengths[item.row] = padded[0][0], padded[1][0]
                read.append(item)
        if not read:
            return {}
        activations, paddings = self._lower(
            tf.constant(audio), tf.constant(lengths)
        )
        # Paddings ride along as one more column: a file is one array.
        both = np.concatenate(
            [np.asarray(activations), np.asarray(paddings)[..., None]], axis=-1
        )
        return {item.name: both[item.row] for item in read}

    def _check_space(self, needed):
        free = shutil.disk_usage(self._directory).free
        if free < needed + SPARE_BYTES:
            raise OSError(
                f"{self._directory}: not enough space: the frozen activations "
                f"need {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are "
                "free; make room, or train with train.cache_activations=false"
            )

    def _write(self, name, row):
        data = row.tobytes()
        path = os.path.join(self._directory, name)
        files.write_atomically(path, data + _checksum(data))
        self._known.add(name)

    def _read(self, item):
        """Activations and paddings of an item, as `_computed` has them.

        A file that is gone, cut off or altered is made again.
        """
        path = os.path.join(self._directory, item.name)
        content = b""
        with contextlib.suppress(OSError), open(path, "rb") as file:
            content = file.read()
        data, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        if data and checksum == _checksum(data):
            both = np.frombuffer(data, np.float32)
            return both.reshape(-1, self._model_dim + 1)
        with self._mending:
            tqdm.tqdm.write(
                f"warning: {path}: damaged; computed again", file=sys.stderr
            )
            computed = self._computed(item.bucket, [item])
            if not computed:
                raise rejections.UnusableError(
                    "recording is gone", where=item.utterance.audio_filepath
                )
            self._write(item.name, computed[item.name])
        return computed[item.name]

    def _stat(self, path):
        """Size and time of a recording's file, or of the shard that has it.

        A run looks at each file once.
        """
        record = tfrecord.parse(path)
        path = record[0] if record else path
        if path not in self._stats:
            found = files.size_and_time(path)
            if found is None:
                raise rejections.UnusableError(
                    "audio file is missing", where=path
                )
            self._stats[path] = found
        return self._stats[path]


def _by_row(items):
    """Yields lists of items that have rows of their own, as few as can be."""
    queues = collections.defaultdict(list)
    for item in items:
        queues[item.row].append(item)
    for part in itertools.zip_longest(*queues.values()):
        yield [item for item in part if item is not None]


def _checksum(data: bytes) -> bytes:
    return google_crc32c.value(data).to_bytes(_CHECKSUM_BYTES, "little")
