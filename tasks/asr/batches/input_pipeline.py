"""From groups of minibatches to batches of tensors, in parallel.

A batch is a dict. Letters: s places (speakers of a step), u utterances of a
speaker. Everything random in it comes from streams of (seed, key, step), the
key being the minibatch's: a speaker's id.

    audio          [s, u, samples] float32, zero past each length
    lengths        [s, u] int32, samples
    tokens         [s, u, tokens] int32
    token_lengths  [s, u] int32
    weights        [s, u] float32, 0 where there is no utterance
    languages      [s, u] int32, as `BaseModel.loss` takes them
    row_indices    [s] int32, all different in training
    active         [s] bool, False where a place is empty
    seeds          [s, 2] int32, for dropout
    freq_masks     [s, u, masks, 2] float32, (start, width): start in [0, 1],
                   width in bins
    time_masks     [s, u, masks, 2] float32, the same, width in frames
"""

import os
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like import languages as languages_lib, random_streams
from lingvo_like.stack import rows as slot_rows_lib
from params import jobs
from tasks.asr.batches import minibatch_schedule, padded_audio
from tasks.asr.data import preparation, rejections

# The least padded length of transcripts.
_LEAST_TOKENS = 16
# Each thread may hold a batch that is ready. A TPU VM has hundreds of
# processors, and its batches have gigabytes.
_MAX_THREADS = 16
# Batches that are ready before they are asked for, besides those of threads.
_PREFETCHED = 2


class Loader:
    """Reads one group at a time.

    Args:
        speakers: by slot.
        sample_rate, max_tokens, languages: the base model's.
        augment: of training minibatches; evaluation has none.
        slot_rows: where a step finds the slots. If None, a slot is its own
            row.
        lost: grows by the slots whose recordings cannot be read, with the
            reason; their places stay empty. If None, that is an error.

    Attributes:
        shape: the places and the utterances of a speaker: s and u.
    """

    def __init__(
        self,
        speakers: abc.Mapping[int, preparation.TokenizedUtterances],
        sample_rate: int,
        max_tokens: int,
        languages: abc.Sequence[str],
        places: int,
        utterances_per_speaker: int,
        augment: jobs.Augment,
        seed: int,
        slot_rows: slot_rows_lib.SlotRows | None = None,
        lost: dict[int, str] | None = None,
    ):
        self.lost = lost
        self.speakers = speakers
        self._rows = sorted(speakers)
        self._row_of = int
        if slot_rows is not None:
            self._rows = range(slot_rows.num_rows)
            self._row_of = slot_rows.row_index
        self.sample_rate = sample_rate
        self._languages = tuple(languages)
        self._max_tokens = max_tokens
        self.shape = (places, utterances_per_speaker)
        self._augment = augment
        self._seed = seed

    def batch(
        self, group: minibatch_schedule.Group, with_audio: bool = True
    ) -> dict[str, np.ndarray]:
        """A group as a batch; see the module's docstring."""
        num_tokens = group.num_tokens or token_bucket(
            self._transcripts(group), self._max_tokens
        )
        shape, places = self.shape, self.shape[0]
        augment = self._augment
        samples = group.bucket if with_audio else 0
        batch = {
            "audio": np.zeros((*shape, samples), np.float32),
            "lengths": np.zeros(shape, np.int32),
            "tokens": np.zeros((*shape, num_tokens), np.int32),
            "token_lengths": np.zeros(shape, np.int32),
            "weights": np.zeros(shape, np.float32),
            "languages": np.zeros(shape, np.int32),
            "row_indices": self._row_indices(group),
            "active": np.zeros([places], np.bool_),
            "seeds": np.zeros((places, 2), np.int32),
            "freq_masks": np.zeros(
                (*shape, augment.num_freq_masks, 2), np.float32
            ),
            "time_masks": np.zeros(
                (*shape, augment.num_time_masks, 2), np.float32
            ),
        }
        for place, minibatch in group.placed:
            try:
                if not self.lost or minibatch.slot not in self.lost:
                    self._fill(batch, place, minibatch, with_audio)
                    batch["active"][place] = True
            except rejections.UnusableError as error:
                if self.lost is None:
                    raise
                self.lost.setdefault(minibatch.slot, str(error))
        return batch

    def _transcripts(self, group):
        for minibatch in group.minibatches:
            utterances = self.speakers[minibatch.slot].utterances
            yield from (utterances[i].tokens for i in minibatch.utterances)

    def _row_indices(self, group):
        # An empty place has the row of an absent slot, since the rows of a
        # step must differ. The step leaves that row as it is.
        taken = {place: self._row_of(each.slot) for place, each in group.placed}
        present = set(taken.values())
        absent = (row for row in self._rows if row not in present)
        some = next(iter(taken.values()), 0)
        return np.array(
            [
                taken[place] if place in taken else next(absent, some)
                for place in range(self.shape[0])
            ],
            np.int32,
        )

    def _fill(self, batch, place, minibatch, with_audio):
        data = self.speakers[minibatch.slot]
        # The recordings first: where one is missing, the place stays empty.
        if with_audio:
            batch["audio"][place], batch["lengths"][place] = padded_audio.read(
                [data.utterances[index] for index in minibatch.utterances],
                self.sample_rate,
                self.shape[1],
                minibatch.bucket,
                minibatch.speed_factors,
            )
        for row, index in enumerate(minibatch.utterances):
            utterance = data.utterances[index]
            tokens = utterance.tokens
            batch["languages"][place, row] = languages_lib.index(
                self._languages, utterance.language
            )
            batch["tokens"][place, row, : len(tokens)] = tokens
            batch["token_lengths"][place, row] = len(tokens)
            batch["weights"][place, row] = 1.0
        if minibatch.step < 0:
            return
        key = (self._seed, minibatch.stream_key, minibatch.step)
        batch["seeds"][place] = random_streams.stateless_seed("dropout", *key)
        self._draw_masks(batch, place, random_streams.generator("masks", *key))

    def _draw_masks(self, batch, place, draw):
        augment = self._augment
        for masks, largest in (
            (batch["freq_masks"][place], augment.freq_mask_max_bins),
            (batch["time_masks"][place], augment.time_mask_max_frames),
        ):
            shape = masks.shape[:2]
            masks[..., 0] = draw.random(shape)
            masks[..., 1] = draw.integers(0, largest + 1, shape)


def token_bucket(
    transcripts: abc.Iterable[abc.Sequence[int]], max_tokens: int
) -> int:
    """The static number of tokens that holds every transcript.

    It is a power of two, so that few shapes are compiled, or `max_tokens`.
    """
    longest = max((len(tokens) for tokens in transcripts), default=1)
    longest = max(longest, _LEAST_TOKENS)
    return min(1 << (longest - 1).bit_length(), max_tokens)


def dataset(
    load: abc.Callable[[Any], dict[str, np.ndarray]],
    groups: abc.Iterable[Any],
) -> abc.Iterable[dict[str, tf.Tensor]]:
    """The batches that `load` makes of `groups`, in parallel and in order."""
    groups = list(groups)
    if not groups:
        return []
    example = load(groups[0])
    # The first is loaded already, and for a second iteration again.
    loaded = {0: example}
    names = list(example)
    types = [tf.as_dtype(example[name].dtype) for name in names]
    ranks = [example[name].ndim for name in names]

    def load_index(index: np.ndarray) -> list[np.ndarray]:
        batch = loaded.pop(int(index), None) or load(groups[int(index)])
        return [batch[name] for name in names]

    def to_tensors(index: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = tf.numpy_function(load_index, [index], types)
        for tensor, rank in zip(tensors, ranks, strict=True):
            tensor.set_shape([None] * rank)
        return dict(zip(names, tensors, strict=True))

    # Nothing here needs tuning, and deleting the iterator would wait for the
    # autotuner's thread, which sleeps for up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.Dataset.range(len(groups))
        .map(
            to_tensors,
            num_parallel_calls=min(os.cpu_count() or 1, _MAX_THREADS),
        )
        .prefetch(_PREFETCHED)
        .with_options(options)
    )
