"""The frozen activations below the lowest adapter, computed once and kept.

They are a function of the recording and its padded length alone, so each is a
file named by both; a run that resumes finds what it had.
"""

import collections
import hashlib
import os

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import files
from tasks.asr.data import input_pipeline

# Rows of one computation, always, so that it compiles once for each bucket.
ROWS = 8


class ActivationCache:
    """Serves batches whose lower activations come from files.

    Args:
        directory: str, a local folder.
        lower: function of audio `[rows, samples]` and lengths `[rows]` that
            returns activations and paddings.
        loader: `input_pipeline.Loader` for everything but the audio.
        speakers: dict of slot to `SpeakerUtterances`.
        sample_rate: int.
        model_dim: int, the base model's.
        shape: (places, utterances of a speaker).
    """

    def __init__(
        self,
        directory,
        lower,
        loader,
        speakers,
        sample_rate,
        model_dim,
        shape,
    ):
        self._directory = directory
        self._lower = lower
        self._loader = loader
        self._speakers = speakers
        self._sample_rate = sample_rate
        self._model_dim = model_dim
        self._shape = shape
        os.makedirs(directory, exist_ok=True)
        self._known = set(os.listdir(directory))

    def compute(self, groups):
        """Computes what these groups need and the folder lacks."""
        missing = collections.defaultdict(dict)
        for group in groups:
            for minibatch in group.minibatches:
                for index in minibatch.utterances:
                    utterance = self._utterance(minibatch, index)
                    name = _file_name(utterance, group.bucket)
                    if name not in self._known:
                        missing[group.bucket][name] = utterance
        total = sum(len(names) for names in missing.values())
        with tqdm.tqdm(
            total=total, desc="frozen activations", disable=not total
        ) as progress:
            for bucket, utterances in sorted(missing.items()):
                rows = list(utterances.items())
                for i in range(0, len(rows), ROWS):
                    self._compute_rows(bucket, rows[i : i + ROWS])
                    progress.update(len(rows[i : i + ROWS]))

    def batch(self, group):
        """The group's batch, with activations in place of the audio."""
        batch = self._loader.batch(group, with_audio=False)
        for place, minibatch in group.placed:
            for row, index in enumerate(minibatch.utterances):
                activations, paddings = self._read(
                    _file_name(self._utterance(minibatch, index), group.bucket)
                )
                if "activations" not in batch:
                    batch["activations"] = np.zeros(
                        (*self._shape, *activations.shape), np.float32
                    )
                    batch["activation_paddings"] = np.ones(
                        (*self._shape, *paddings.shape), np.float32
                    )
                batch["activations"][place, row] = activations
                batch["activation_paddings"][place, row] = paddings
        return batch

    def _utterance(self, minibatch, index):
        return self._speakers[minibatch.speaker].utterances[index]

    def _compute_rows(self, bucket, rows):
        audio = np.zeros((ROWS, bucket), np.float32)
        lengths = np.zeros([ROWS], np.int32)
        for row, (_, utterance) in enumerate(rows):
            samples = input_pipeline.read_samples(utterance, self._sample_rate)
            samples = samples[:bucket]
            audio[row, : len(samples)] = samples
            lengths[row] = len(samples)
        activations, paddings = self._lower(
            tf.constant(audio), tf.constant(lengths)
        )
        # Paddings ride along as one more column: a file is one array.
        both = np.concatenate(
            [activations.numpy(), paddings.numpy()[..., None]], axis=-1
        )
        for row, (name, _) in enumerate(rows):
            path = os.path.join(self._directory, name)
            files.write_atomically(path, both[row].tobytes())
            self._known.add(name)

    def _read(self, name):
        path = os.path.join(self._directory, name)
        both = np.fromfile(path, np.float32)
        if not len(both) or len(both) % (self._model_dim + 1):
            raise ValueError(f"{path}: damaged; remove it to compute it again")
        both = both.reshape(-1, self._model_dim + 1)
        return both[:, :-1], both[:, -1]


def _file_name(utterance, bucket):
    identity = "\x1f".join(
        map(
            str,
            (utterance.audio_filepath, utterance.offset, utterance.duration),
        )
    )
    digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return f"{digest}-{bucket}.f32"
