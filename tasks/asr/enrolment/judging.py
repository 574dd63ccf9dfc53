"""Judges Submodels by utterances that they have not learned from.

What is computed together is one speaker's, so that every bit of a judgement is
the same, whoever else enrols.
"""

import collections
from collections import abc
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import tensor_types
from tasks.asr.data import preparation, text
from tasks.asr.enrolment import activations as activations_lib, plan
from tasks.asr.evaluation import scoring
from tpu.distribute import replicas as replicas_lib

# Utterances that are judged together.
_PLACES = 32
# A text is decoded no further than this many times its transcript's tokens,
# and some more: enough to show a base model that repeats itself.
_COPIES, _SPARE_TOKENS = 4, 8

# A candidate: dict of name to tensors `[runs, ...]`.
Rows: TypeAlias = abc.Mapping[str, np.ndarray]


class Judge:
    """Losses and texts of held-out utterances.

    Args:
        site_functions: function of rows, as `Stack.site_functions`.
        normalizer: one of `text.NORMALIZERS`.
        num_losses: number of candidates whose losses will be asked for.
    """

    def __init__(
        self,
        site_functions: abc.Callable[[tensor_types.TensorsByName], Any],
        speech: activations_lib.Speech,
        runs: list[plan.Run],
        normalizer: str,
        num_losses: int,
        replicas: replicas_lib.Replicas,
    ):
        self._base = speech.base
        self._replicas = replicas
        self._site_functions = site_functions
        self._speech = speech
        self._normalizer = normalizer
        self._runs = runs
        # By speaker and padded length: pairs of a slot and an utterance.
        self._items = collections.defaultdict(list)
        for slot, run in enumerate(runs):
            held_out = speech.by_bucket(run.speaker, run.held_out)
            for bucket, indices in held_out.items():
                items = [(slot, index) for index in indices]
                self._items[run.speaker, bucket] += items
        # A decoder's many small operations cost much more uncompiled.
        self._decode = tf.function(self._base.decode, autograph=False)
        self._text_step = replicas.replicate(self._texts)
        self._eager_loss_step = replicas.replicate(self._losses)
        self._compiled_loss_step = replicas.replicate(
            tf.function(self._losses, autograph=False)
        )
        # A compilation costs as much as one call.
        self._compiled = {
            (speaker, bucket)
            for (speaker, bucket), items in self._items.items()
            if not replicas.is_plain or len(items) * num_losses > _PLACES
        }

    def losses(
        self, candidates: abc.Sequence[Rows], speakers: abc.Container[str]
    ) -> list[dict[str, dict[int, float]]]:
        """The loss of every held-out utterance of some speakers.

        The row of the run that held an utterance out judges it.

        Returns:
            for each candidate, a dict of speaker to a dict of utterance index
            to loss.
        """

        def judge(batches, is_compiled):
            step = self._eager_loss_step
            if is_compiled:
                step = self._compiled_loss_step
            return [np.asarray(found).tolist() for found in step(batches)]

        # One by one, since others may be judged at the same time or not.
        return self._judge(judge, candidates, speakers, together=1)

    def texts(
        self, candidates: abc.Sequence[Rows], speakers: abc.Container[str]
    ) -> list[dict[str, dict[int, str]]]:
        """The text of every held-out utterance, in dicts like `losses`."""

        def judge(batches, _):
            return [
                [
                    each.decode("utf-8", "replace")
                    for each in self._base.detokenize(*found).numpy()
                ]
                for found in self._text_step(batches)
            ]

        return self._judge(judge, candidates, speakers, len(candidates))

    def errors(
        self,
        texts: abc.Mapping[int, str],
        data: preparation.TokenizedUtterances,
    ) -> tuple[int, int]:
        """Word errors and words of one speaker's recognised texts."""
        references, hypotheses = [], []
        for index, hypothesis in texts.items():
            reference = text.normalize(
                data.utterances[index].text, self._normalizer
            )
            if reference:
                references.append(reference)
                hypotheses.append(text.normalize(hypothesis, self._normalizer))
        words = sum(len(reference.split()) for reference in references)
        return sum(scoring.word_errors(references, hypotheses)), words

    def _judge(self, judge, candidates, speakers, together):
        firsts = _first_alike(candidates)
        parts = list(self._parts(firsts, speakers, together))
        # By the first candidate with the row, the run and the utterance.
        judged = {}
        with tqdm.tqdm(
            total=sum(len(part) for _, some in parts for part in some),
            desc="enrolling (judging)",
            unit="utt",
            # Inside the bar of the learning, and only on a terminal.
            leave=False,
            disable=None,
        ) as progress:
            for (places, bucket, _, is_compiled), some in parts:
                # An idle replica judges the first part again.
                idle = self._replicas.num_local - len(some)
                batches = [
                    self._batch(candidates, part, places, bucket)
                    for part in some + some[:1] * idle
                ]
                found = judge(batches, is_compiled)
                for part, values in zip(some, found, strict=False):
                    judged |= zip(part, values, strict=False)
                    progress.update(len(part))
        result = [collections.defaultdict(dict) for _ in candidates]
        for (first, slot, index), value in judged.items():
            speaker = self._runs[slot].speaker
            for of_candidate, of_slots in zip(result, firsts, strict=True):
                if of_slots[slot] == first:
                    of_candidate[speaker][index] = value
        return [dict(each) for each in result]

    def _parts(self, firsts, speakers, together):
        """Yields what parts have in common, and a part for each replica.

        What they have in common: their places, padded lengths of speech and
        transcripts, and whether losses are compiled.

        Args:
            together: candidates whose rows share a part.
        """
        by_shape = collections.defaultdict(list)
        for (speaker, bucket), items in self._items.items():
            if speaker not in speakers:
                continue
            num_tokens = self._speech.num_tokens(speaker)
            is_compiled = (speaker, bucket) in self._compiled
            for start in range(0, len(firsts), together):
                rows = [
                    (candidate, slot, index)
                    for candidate in range(len(firsts))[start:][:together]
                    for slot, index in items
                    if firsts[candidate][slot] == candidate
                ]
                if not rows:
                    continue
                # Those of one candidate alone always have the same number.
                count = len(items) if together == 1 else len(rows)
                places = plan.even_places([count], _PLACES)
                shape = places, bucket, num_tokens, is_compiled
                by_shape[shape] += _slices(rows, places)
        for shape, parts in by_shape.items():
            for some in _slices(parts, self._replicas.num_local):
                yield shape, some

    def _batch(self, candidates, items, places, bucket):
        # An empty place is judged by the first row, and its result is ignored.
        filled = items + items[:1] * (places - len(items))
        rows = {
            name: tf.constant(
                np.stack([candidates[c][name][slot] for c, slot, _ in filled])
            )
            for name in candidates[0]
        }
        heard = [(self._runs[slot].speaker, [i]) for _, slot, i in items]
        batch = self._speech.batch(heard, places, 1, bucket)
        return {
            "rows": rows,
            **{k: tf.constant(v[:, 0]) for k, v in batch.items()},
        }

    def _encode(self, batch):
        return self._base.upper(
            batch["activations"],
            batch["activation_paddings"],
            self._speech.first_block,
            self._site_functions(batch["rows"]),
        )

    def _losses(self, batch):
        return self._base.loss(
            self._encode(batch),
            batch["activation_paddings"],
            batch["tokens"],
            batch["token_lengths"],
        )

    def _texts(self, batch):
        # A model that repeats itself would go on to its longest text, and all
        # others would wait for it.
        tokens, lengths, *_ = self._decode(
            self._encode(batch),
            batch["activation_paddings"],
            limits=_COPIES * batch["token_lengths"] + _SPARE_TOKENS,
        )
        return tokens, lengths


def _slices(items, length):
    return [items[i : i + length] for i in range(0, len(items), length)]


def _first_alike(candidates):
    """For each candidate and run, the first candidate with the same row.

    A mode that found nothing better is where another one is: the same row need
    not be judged twice.
    """
    num_runs = len(next(iter(candidates[0].values())))
    return [
        [
            next(
                i
                for i, earlier in enumerate(candidates)
                if all(np.array_equal(earlier[n][r], rows[n][r]) for n in rows)
            )
            for r in range(num_runs)
        ]
        for rows in candidates
    ]
