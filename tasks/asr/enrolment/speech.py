"""The utterances of an enrolment as frozen activations, computed once.

Everything below the lowest adapter is the same in every step, run and mode. An
utterance is padded to what its own length, or that of the longest beside it in
its speaker's minibatch, asks for, as in training and serving. Lengths are
rounded up so that the speakers of a call share few: each compiles once.

Letters: s places, u utterances of a place, t time, d model_dim.
"""

import collections
import math

import numpy as np
import tensorflow as tf
import tqdm

from tasks.asr.batches import input_pipeline, padded_audio

# Utterances of one computation.
_ROWS = 8


class Speech:
    """Every utterance of some speakers.

    Args:
        base: frozen `BaseModel`.
        first_block: int, the first block above the lowest adapter's.
        speakers: dict of speaker to `SpeakerUtterances`.
        bucket_seconds: dict of speaker to float, what padded lengths are
            rounded up to: each speaker's own, whoever else there is.

    Attributes:
        num_samples: dict of speaker to each utterance's length.
    """

    def __init__(self, base, first_block, speakers, bucket_seconds):
        self._base = base
        self._first_block = first_block
        self._speakers = speakers
        self._grids = {
            speaker: base.num_samples(seconds)
            for speaker, seconds in bucket_seconds.items()
        }
        self._token_bucket = input_pipeline.token_bucket(
            (t for data in speakers.values() for t in data.tokens),
            base.max_tokens,
        )
        self.num_samples = {
            speaker: data.num_samples(base)
            for speaker, data in speakers.items()
        }
        # By speaker, index and padded length, since a base model may hear the
        # silence too.
        self._heard = {}
        total = sum(map(len, self.num_samples.values()))
        with tqdm.tqdm(
            total=total, desc="enrolling (recordings)", unit="utt", disable=None
        ) as progress:
            for speaker, lengths in self.num_samples.items():
                alone = self.by_bucket(
                    range(len(lengths)), lambda index, s=speaker: (s, index)
                )
                for bucket, indices in alone.items():
                    self._listen(speaker, indices, bucket, progress.update)

    def bucket_samples(self, speaker, num_samples):
        """The padded length, in samples, of a speaker's utterance."""
        bucket, grid = (
            self._base.bucket_samples(num_samples),
            self._grids[speaker],
        )
        return min(
            math.ceil(bucket / grid) * grid,
            max(bucket, self._base.max_samples),
        )

    def by_bucket(self, items, utterance_of):
        """Items by the padded length of an utterance of theirs.

        Args:
            items: iterable.
            utterance_of: function of an item to its speaker and index.

        Returns:
            dict of padded length to list of items, each in the items' order.
        """
        result = collections.defaultdict(list)
        for item in items:
            speaker, index = utterance_of(item)
            num_samples = self.num_samples[speaker][index]
            result[self.bucket_samples(speaker, num_samples)].append(item)
        return dict(result)

    def of(self, speaker, indices, bucket):
        """Activations `[u, t, d]` and paddings `[u, t]` of some utterances.

        Args:
            speaker: str.
            indices: of the speaker's utterances.
            bucket: int, the padded length of all of them.
        """
        self._listen(
            speaker,
            [i for i in indices if (speaker, i, bucket) not in self._heard],
            bucket,
        )
        found = [self._heard[speaker, i, bucket] for i in indices]
        return tuple(map(np.stack, zip(*found, strict=True)))

    def _listen(self, speaker, indices, bucket, progress=lambda count: None):
        base, utterances = self._base, self._speakers[speaker].utterances
        for start in range(0, len(indices), _ROWS):
            some = indices[start : start + _ROWS]
            audio, lengths = padded_audio.read(
                (utterances[index] for index in some),
                base.sample_rate,
                len(some),
                bucket,
            )
            # Not compiled: once for each utterance, compiling costs more.
            found = base.lower(
                *base.features(tf.constant(audio), tf.constant(lengths)),
                self._first_block,
            )
            activations, paddings = map(np.asarray, found)
            for row, index in enumerate(some):
                self._heard[speaker, index, bucket] = (
                    activations[row],
                    paddings[row],
                )
            progress(len(some))

    def batch(self, items, places, utterances, bucket):
        """What a step of the task takes of the speech.

        Args:
            items: pairs of speaker and utterance indices.
            places: int, s; those after the items stay empty.
            utterances: int, u.
            bucket: int, the padded length.

        Returns:
            dict of arrays, as `input_pipeline` describes them.
        """
        found = [self.of(*item, bucket) for item in items]
        activations, paddings = found[0]
        shape = (places, utterances)
        batch = {
            "activations": np.zeros((*shape, *activations.shape[1:]), "f4"),
            "activation_paddings": np.ones((*shape, *paddings.shape[1:]), "f4"),
            "tokens": np.zeros((*shape, self._token_bucket), np.int32),
            "token_lengths": np.zeros(shape, np.int32),
            "weights": np.zeros(shape, np.float32),
        }
        for place, (speaker, indices) in enumerate(items):
            count = len(indices)
            batch["activations"][place, :count] = found[place][0]
            batch["activation_paddings"][place, :count] = found[place][1]
            batch["weights"][place, :count] = 1.0
            for row, index in enumerate(indices):
                tokens = self._speakers[speaker].tokens[index]
                batch["tokens"][place, row, : len(tokens)] = tokens
                batch["token_lengths"][place, row] = len(tokens)
        return batch
