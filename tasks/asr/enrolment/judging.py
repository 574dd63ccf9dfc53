"""Judges Submodels by utterances that they have not learned from.

Utterances of many speakers are judged together, in a fixed number of places.
The shapes of what is computed, and a row's place in it, are the speaker's own;
what other places hold changes no bit. So every bit of a judgement is the same,
whoever else enrols.
"""

import collections
import itertools
from collections import abc
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import random_streams, tensor_types
from tasks.asr.data import preparation, text
from tasks.asr.enrolment import activations as activations_lib, plan
from tasks.asr.evaluation import scoring
from tpu.distribute import replicas as replicas_lib

# Utterances that are judged together. More would leave more places empty where
# few speakers enrol, but a decoder's many small operations hardly cost more for
# more rows.
_LOSS_PLACES, _TEXT_PLACES = 8, 16
# Fewer losses than this are not worth a compilation.
_WORTH_COMPILING = 33
# A text is decoded no further than this many times its transcript's tokens,
# and some more: enough to show a base model that repeats itself.
_COPIES, _SPARE_TOKENS = 4, 8

# A candidate: dict of name to tensors `[runs, ...]`.
Rows: TypeAlias = abc.Mapping[str, np.ndarray]


class Judge:
    """Losses and texts of held-out utterances.

    Args:
        site_functions: function of rows, as `Stack.site_functions`.
        normalizer: `text.AUTO` or one of `text.NORMALIZERS`.
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
        # The place of a speaker's first row is drawn from the id, so that
        # those of different speakers spread.
        self._begin = {
            run.speaker: int(
                random_streams.generator("judging", run.speaker).integers(
                    _LOSS_PLACES * _TEXT_PLACES
                )
            )
            for run in runs
        }
        # A decoder's many small operations cost much more uncompiled.
        self._compiled_decode = tf.function(self._decode, autograph=False)
        self._text_step = replicas.replicate(self._texts)
        self._eager_loss_step = replicas.replicate(self._losses)
        self._compiled_loss_step = replicas.replicate(
            tf.function(self._losses, autograph=False)
        )
        self._loss_shapes = {
            (speaker, bucket): (
                bucket,
                speech.num_tokens(speaker),
                not replicas.is_plain
                or len(items) * num_losses >= _WORTH_COMPILING,
            )
            for (speaker, bucket), items in self._items.items()
        }

    def losses(
        self,
        candidates: abc.Sequence[Rows],
        speakers: abc.Container[str],
        first: int = 0,
    ) -> list[dict[str, dict[int, float]]]:
        """The loss of every held-out utterance of some speakers.

        The row of the run that held an utterance out judges it.

        Args:
            first: the number of the first candidate, where candidates are
                handed over in several calls. Places go by these numbers.

        Returns:
            for each candidate, a dict of speaker to a dict of utterance index
            to loss.
        """

        def judge(
            batches: Any, shape: tuple[int, int, bool]
        ) -> list[list[float]]:
            *_, is_compiled = shape
            step = self._eager_loss_step
            if is_compiled:
                step = self._compiled_loss_step
            return [np.asarray(found).tolist() for found in step(batches)]

        firsts = _first_alike(candidates)
        steps = self._steps(
            firsts, first, speakers, _LOSS_PLACES, self._loss_shapes
        )
        return self._judge(judge, candidates, firsts, steps, _LOSS_PLACES)

    def texts(
        self, candidates: abc.Sequence[Rows], speakers: abc.Container[str]
    ) -> list[dict[str, dict[int, str]]]:
        """The text of every held-out utterance, in dicts like `losses`."""

        def judge(batches: Any, _: Any) -> list[list[str]]:
            # Their padded length would differ from part to part.
            for batch in batches:
                del batch["tokens"]
            return [
                [
                    each.decode("utf-8", "replace")
                    for each in self._base.detokenize(*found).numpy()
                ]
                for found in self._text_step(batches)
            ]

        # Nothing but speech decides what a decoder is compiled for.
        shapes = {key: (key[1],) for key in self._items}
        firsts = _first_alike(candidates)
        steps = self._steps(firsts, 0, speakers, _TEXT_PLACES, shapes)
        return self._judge(judge, candidates, firsts, steps, _TEXT_PLACES)

    def errors(
        self,
        texts: abc.Mapping[int, str],
        data: preparation.TokenizedUtterances,
    ) -> tuple[int, int]:
        """Word errors and words of one speaker's recognised texts."""
        references, hypotheses = [], []
        for index, hypothesis in texts.items():
            utterance = data.utterances[index]
            normalizer = text.choose(self._normalizer, utterance.language)
            reference = text.normalize(utterance.text, normalizer)
            if reference:
                references.append(reference)
                hypotheses.append(text.normalize(hypothesis, normalizer))
        words = sum(len(reference.split()) for reference in references)
        return sum(scoring.word_errors(references, hypotheses)), words

    def _judge(self, judge, candidates, firsts, steps, places):
        # By the first candidate with the row, the run and the utterance.
        judged = {}
        with tqdm.tqdm(
            total=sum(len(part) for _, parts in steps for part in parts),
            desc="enrolling (judging)",
            unit="utt",
            # Inside the bar of the learning, and only on a terminal.
            leave=False,
            disable=None,
        ) as progress:
            for shape, parts in steps:
                # An idle replica judges the first part again.
                idle = self._replicas.num_local - len(parts)
                batches = [
                    self._batch(candidates, part, places, shape[0])
                    for part in parts + parts[:1] * idle
                ]
                found = judge(batches, shape)
                for part, values in zip(parts, found, strict=False):
                    judged |= {row: values[p] for p, row in part.items()}
                    progress.update(len(part))
        result = [collections.defaultdict(dict) for _ in candidates]
        for (first, slot, index), value in judged.items():
            speaker = self._runs[slot].speaker
            for of_candidate, of_slots in zip(result, firsts, strict=True):
                if of_slots[slot] == first:
                    of_candidate[speaker][index] = value
        return [dict(each) for each in result]

    def _steps(self, firsts, first, speakers, places, shapes):
        """The steps to compute: a shape, and a part for each replica.

        A part is a dict of place to a row: a candidate, a slot, and an
        utterance.

        Args:
            firsts: of `_first_alike`.
            first: the number of the first candidate.
            shapes: dict of speaker and padded length to a shape, which begins
                with that length. Rows of one shape share steps.
        """
        queues = collections.defaultdict(lambda: collections.defaultdict(list))
        for candidate, of_slots in enumerate(firsts):
            for (speaker, bucket), items in self._items.items():
                if speaker not in speakers:
                    continue
                begin = self._begin[speaker] + (first + candidate) * len(items)
                of_places = queues[shapes[speaker, bucket]]
                for place, (slot, index) in enumerate(items, begin):
                    if of_slots[slot] == candidate:
                        row = candidate, slot, index
                        of_places[place % places].append(row)
        result = []
        for shape, of_places in queues.items():
            parts = [
                {
                    place: row
                    for place, row in zip(of_places, rows, strict=True)
                    if row is not None
                }
                for rows in itertools.zip_longest(*of_places.values())
            ]
            for some in _slices(parts, self._replicas.num_local):
                result.append((shape, some))
        return result

    def _batch(self, candidates, part, places, bucket):
        # An empty place is judged by any row, and its result is ignored.
        any_row = next(iter(part.values()))
        filled = [part.get(place, any_row) for place in range(places)]
        rows = {
            name: tf.constant(
                np.stack([candidates[c][name][slot] for c, slot, _ in filled])
            )
            for name in candidates[0]
        }
        heard = {
            place: (self._runs[slot].speaker, [index])
            for place, (_, slot, index) in part.items()
        }
        batch = self._speech.batch(heard, places, 1, bucket)
        return {
            "rows": rows,
            **{k: tf.constant(v[:, 0]) for k, v in batch.items()},
        }

    def _encode(self, batch, functions):
        return self._base.upper(
            batch["activations"],
            batch["activation_paddings"],
            self._speech.first_block,
            functions,
        )

    def _losses(self, batch):
        functions = self._site_functions(batch["rows"])
        return self._base.loss(
            self._encode(batch, functions),
            batch["activation_paddings"],
            batch["tokens"],
            batch["token_lengths"],
            languages=batch["languages"],
            functions=functions,
        )

    def _decode(self, encoded, paddings, rows, limits, languages):
        return self._base.decode(
            encoded,
            paddings,
            limits=limits,
            languages=languages,
            functions=self._site_functions(rows),
        )

    def _texts(self, batch):
        # A model that repeats itself would go on to its longest text, and all
        # others would wait for it.
        functions = self._site_functions(batch["rows"])
        tokens, lengths, *_ = self._compiled_decode(
            self._encode(batch, functions),
            batch["activation_paddings"],
            batch["rows"],
            limits=_COPIES * batch["token_lengths"] + _SPARE_TOKENS,
            languages=batch["languages"],
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
