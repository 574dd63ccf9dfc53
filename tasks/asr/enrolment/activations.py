"""The utterances of an enrolment as frozen activations, computed once.

Everything below the lowest site is the same in every step, run and mode. As
in training and serving, an utterance is padded to the bucket of the longest
utterance in its minibatch. Buckets are rounded up further, so that there are
few of them: each is compiled.

Letters: s places, u utterances of a place, t time, d model_dim.
"""

import collections
import math
from collections import abc

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like.base_models import base_model
from tasks.asr.batches import input_pipeline, padded_audio
from tasks.asr.data import preparation

# Utterances of one computation.
_ROWS = 8


class Speech:
    """Every utterance of some speakers.

    Args:
        first_block: the first encoder block that a Submodel changes.
        bucket_seconds: dict of speaker to the length that padded lengths are
            rounded up to. It is the speaker's own, whoever else enrols.

    Attributes:
        num_samples: dict of speaker to the length of each utterance.
    """

    def __init__(
        self,
        base: base_model.BaseModel,
        first_block: int,
        speakers: abc.Mapping[str, preparation.TokenizedUtterances],
        bucket_seconds: abc.Mapping[str, float],
    ):
        self.base = base
        self.first_block = first_block
        self._speakers = speakers
        self._grids = {
            speaker: base.num_samples(seconds)
            for speaker, seconds in bucket_seconds.items()
        }
        self.num_samples = {
            speaker: data.num_samples(base)
            for speaker, data in speakers.items()
        }
        self._num_tokens = {
            speaker: input_pipeline.token_bucket(
                (each.tokens for each in data.utterances), base.max_tokens
            )
            for speaker, data in speakers.items()
        }
        # By speaker, index and padded length: a base model may hear silence.
        self._heard = {}
        total = sum(map(len, self.num_samples.values()))
        with tqdm.tqdm(
            total=total, desc="enrolling (recordings)", unit="utt", disable=None
        ) as progress:
            for speaker, lengths in self.num_samples.items():
                everything = self.by_bucket(speaker, range(len(lengths)))
                for bucket, indices in everything.items():
                    self._listen(speaker, indices, bucket, progress.update)

    def num_tokens(self, speaker: str) -> int:
        """The padded length of a speaker's transcripts."""
        return self._num_tokens[speaker]

    def bucket_samples(self, speaker: str, num_samples: int) -> int:
        """The padded length, in samples, of a speaker's utterance."""
        bucket = self.base.bucket_samples(num_samples)
        grid = self._grids[speaker]
        return min(
            math.ceil(bucket / grid) * grid,
            max(bucket, self.base.max_samples),
        )

    def by_bucket(
        self, speaker: str, indices: abc.Iterable[int]
    ) -> dict[int, list[int]]:
        """Groups a speaker's utterances by their padded length in samples."""
        result = collections.defaultdict(list)
        for index in indices:
            num_samples = self.num_samples[speaker][index]
            result[self.bucket_samples(speaker, num_samples)].append(index)
        return dict(result)

    def of(
        self, speaker: str, indices: abc.Sequence[int], bucket: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Activations `[u, t, d]` and paddings `[u, t]` of some utterances."""
        self._listen(
            speaker,
            [i for i in indices if (speaker, i, bucket) not in self._heard],
            bucket,
        )
        found = [self._heard[speaker, i, bucket] for i in indices]
        activations, paddings = zip(*found, strict=True)
        return np.stack(activations), np.stack(paddings)

    def _listen(self, speaker, indices, bucket, progress=lambda count: None):
        base, utterances = self.base, self._speakers[speaker].utterances
        for start in range(0, len(indices), _ROWS):
            some = indices[start : start + _ROWS]
            audio, lengths = padded_audio.read(
                (utterances[index] for index in some),
                base.sample_rate,
                len(some),
                bucket,
            )
            features, paddings = base.features(
                tf.constant(audio), tf.constant(lengths)
            )
            # Not compiled: an utterance is computed once.
            found = base.lower(features, paddings, self.first_block)
            activations, paddings = map(np.asarray, found)
            for row, index in enumerate(some):
                self._heard[speaker, index, bucket] = (
                    activations[row],
                    paddings[row],
                )
            progress(len(some))

    def batch(
        self,
        items: abc.Mapping[int, tuple[str, abc.Sequence[int]]],
        places: int,
        utterances: int,
        bucket: int,
    ) -> dict[str, np.ndarray]:
        """The speech of a task's batch, as `input_pipeline` describes it.

        Args:
            items: dict of place to a speaker and indices of utterances; other
                places stay empty.
            places: s.
            utterances: u.
            bucket: padded length in samples.
        """
        found = {p: self.of(*item, bucket) for p, item in items.items()}
        activations, paddings = next(iter(found.values()))
        shape = (places, utterances)
        num_tokens = max(self._num_tokens[s] for s, _ in items.values())
        batch = {
            "activations": np.zeros((*shape, *activations.shape[1:]), "f4"),
            "activation_paddings": np.ones((*shape, *paddings.shape[1:]), "f4"),
            "tokens": np.zeros((*shape, num_tokens), np.int32),
            "token_lengths": np.zeros(shape, np.int32),
            "weights": np.zeros(shape, np.float32),
            "languages": np.zeros(shape, np.int32),
        }
        for place, (speaker, indices) in items.items():
            count = len(indices)
            activations, paddings = found[place]
            batch["activations"][place, :count] = activations
            batch["activation_paddings"][place, :count] = paddings
            batch["weights"][place, :count] = 1.0
            for row, index in enumerate(indices):
                utterance = self._speakers[speaker].utterances[index]
                tokens = utterance.tokens
                batch["languages"][place, row] = self.base.language_index(
                    utterance.language
                )
                batch["tokens"][place, row, : len(tokens)] = tokens
                batch["token_lengths"][place, row] = len(tokens)
        return batch
