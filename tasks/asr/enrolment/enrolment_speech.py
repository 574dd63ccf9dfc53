"""The utterances of an enrolment as frozen activations, computed once.

Everything below the lowest adapter is the same in every step, run and mode. An
utterance is padded to the length that its speaker's longest asks for, rounded
up so that the speakers of a call share few lengths: a function of the speaker
alone, and each length compiles once.

Letters: s places, u utterances of a place, t time, d model_dim.
"""

import collections
import math

import numpy as np
import tensorflow as tf
import tqdm

from tasks.asr.data import input_pipeline

# Utterances of one computation.
_ROWS = 8


class Speech:
    """Every utterance of some speakers.

    Args:
        base: frozen `BaseModel`.
        first_block: int, the first block above the lowest adapter's.
        speakers: dict of speaker to `SpeakerUtterances`.
        bucket_seconds: float, what padded lengths are rounded up to.

    Attributes:
        buckets: dict of speaker to the padded length, in samples.
    """

    def __init__(self, base, first_block, speakers, bucket_seconds):
        self._speakers = speakers
        self._token_bucket = input_pipeline.token_bucket(
            (t for data in speakers.values() for t in data.tokens),
            base.max_tokens,
        )
        self.buckets = {
            speaker: _bucket(base, data, bucket_seconds)
            for speaker, data in speakers.items()
        }
        self._activations, self._paddings = {}, {}
        total = sum(len(data.utterances) for data in speakers.values())
        with tqdm.tqdm(
            total=total, desc="enrolling (recordings)", unit="utt", disable=None
        ) as progress:
            for speaker, data in speakers.items():
                self._listen(base, first_block, speaker, data, progress.update)

    def _listen(self, base, first_block, speaker, data, progress):
        bucket, found = self.buckets[speaker], []
        for start in range(0, len(data.utterances), _ROWS):
            utterances = data.utterances[start : start + _ROWS]
            audio = np.zeros((len(utterances), bucket), np.float32)
            lengths = np.zeros([len(utterances)], np.int32)
            for row, utterance in enumerate(utterances):
                samples = input_pipeline.read_samples(
                    utterance, base.sample_rate
                )[:bucket]
                audio[row, : len(samples)] = samples
                lengths[row] = len(samples)
            # Not compiled: once for each utterance, compiling costs more.
            found.append(
                base.lower(
                    *base.features(tf.constant(audio), tf.constant(lengths)),
                    first_block,
                )
            )
            progress(len(utterances))
        self._activations[speaker], self._paddings[speaker] = (
            np.concatenate([np.asarray(part) for part in parts])
            for parts in zip(*found, strict=True)
        )

    def of(self, speaker, indices):
        """Activations `[u, t, d]` and paddings `[u, t]` of some utterances."""
        indices = list(indices)
        return (
            self._activations[speaker][indices],
            self._paddings[speaker][indices],
        )

    def by_bucket(self, items, speaker_of):
        """Items in lists of one padded length, each in the items' order."""
        result = collections.defaultdict(list)
        for item in items:
            result[self.buckets[speaker_of(item)]].append(item)
        return list(result.values())

    def batch(self, items, places, utterances):
        """What a step of the task takes of the speech.

        Args:
            items: pairs of speaker and utterance indices, of one bucket.
            places: int, s; those after the items stay empty.
            utterances: int, u.

        Returns:
            dict of arrays, as `input_pipeline` describes them.
        """
        activations, paddings = self.of(items[0][0], [0])
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
            both = self.of(speaker, indices)
            batch["activations"][place, :count] = both[0]
            batch["activation_paddings"][place, :count] = both[1]
            batch["weights"][place, :count] = 1.0
            for row, index in enumerate(indices):
                tokens = self._speakers[speaker].tokens[index]
                batch["tokens"][place, row, : len(tokens)] = tokens
                batch["token_lengths"][place, row] = len(tokens)
        return batch


def _bucket(base, data, bucket_seconds):
    longest = max(
        round(utterance.duration * base.sample_rate)
        for utterance in data.utterances
    )
    bucket = base.bucket_samples(longest)
    grid = round(bucket_seconds * base.sample_rate)
    return min(math.ceil(bucket / grid) * grid, max(bucket, base.max_samples))
