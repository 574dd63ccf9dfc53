"""Transcribes many speakers' utterances in batches of one padded length."""

import dataclasses
from collections import abc

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like.base_models import base_model
from lingvo_like.layers import sites
from lingvo_like.stack import stack as stack_lib
from params import schema
from tasks.asr.batches import input_pipeline, minibatch_schedule
from tasks.asr.data import preparation
from tasks.asr.recognition import statuses
from tpu.distribute import replicas as replicas_lib

# Speakers of a replica's batch, and utterances of each.
_PLACES, _UTTERANCES = 4, 4
ROWS = _PLACES * _UTTERANCES


@dataclasses.dataclass(frozen=True)
class Recognised:
    """The text that was recognised in an utterance.

    Attributes:
        score: mean log probability of a token.
        status: "OK", or that the end of the text is missing; see `statuses`.
    """

    text: str
    score: float
    status: str


class Transcriber:
    """A base model that turns batches into texts, alone or with Submodels.

    Args:
        stack: the `Stack` of the Submodels; None for the base model alone.
        replicas: `Replicas` that base and stack were made on; None for one.
    """

    def __init__(
        self,
        base: base_model.BaseModel,
        stack: stack_lib.Stack | None = None,
        beam_size: int = 1,
        replicas: replicas_lib.Replicas | None = None,
    ):
        self._base = base
        self._stack = stack
        self._beam_size = beam_size
        self._replicas = replicas or replicas_lib.Replicas()
        self._step = self._replicas.replicate(
            tf.function(self._recognize, autograph=False)
        )

    def transcribe(
        self,
        speakers: abc.Mapping[int, preparation.SpeakerUtterances],
        title: str = "",
    ) -> dict[tuple[int, int], Recognised]:
        """Recognises every utterance; results by slot and utterance's index.

        Args:
            speakers: by slot.
            title: of the progress bar.
        """
        base, replicas = self._base, self._replicas
        loader = input_pipeline.Loader(
            speakers,
            base.sample_rate,
            base.max_tokens,
            base.languages,
            _PLACES,
            _UTTERANCES,
            schema.Augment(),
            seed=0,
        )
        schedules = {
            slot: minibatch_schedule.MinibatchSchedule(
                slot,
                data.speaker,
                data.num_samples(base),
                base.bucket_samples,
                _UTTERANCES,
                seed=0,
            )
            for slot, data in speakers.items()
        }
        total = sum(len(data.utterances) for data in speakers.values())
        rows = []
        with tqdm.tqdm(total=total, desc=title, unit="utt") as progress:
            for groups, batches in _steps(schedules, loader, replicas):
                results = self._texts(batches)
                for group, found in zip(groups, results, strict=True):
                    for place, minibatch in group.placed:
                        for row, index in enumerate(minibatch.utterances):
                            values = [each[place, row] for each in found]
                            rows.append([minibatch.slot, index, *values])
                        progress.update(len(minibatch.utterances))
        return {
            (slot, index): Recognised(*values)
            for of_process in replicas.processes.gather(rows)
            for slot, index, *values in of_process
        }

    def _recognize(self, batch):
        """Decodes the batch's `s * u` utterances, as `BaseModel.decode`."""
        functions = sites.NONE
        if self._stack is not None:
            functions = self._stack.site_functions(
                self._stack.select(batch["row_indices"])
            )
        audio = batch["audio"]
        features, paddings = self._base.features(
            tf.reshape(audio, [-1, audio.shape[-1]]),
            tf.reshape(batch["lengths"], [-1]),
        )
        encoded, paddings = self._base.encode(features, paddings, functions)
        return self._base.decode(
            encoded,
            paddings,
            self._beam_size,
            languages=tf.reshape(batch["languages"], [-1]),
            functions=functions,
        )

    def _texts(self, batches):
        """Each batch's texts, scores and statuses, each `[s, u]`."""
        results = []
        for batch, found in zip(batches, self._step(batches), strict=True):
            tokens, lengths, scores, ended = found
            shape = batch["lengths"].shape
            # Not a part of the step: an accelerator has no strings.
            texts, status = (
                np.array(
                    [each.decode("utf-8", "replace") for each in part.numpy()],
                    object,
                )
                for part in (
                    self._base.detokenize(tokens, lengths),
                    statuses.of_texts(ended, lengths, self._base.max_tokens),
                )
            )
            scores = scores.astype(float).astype(object)
            results.append(
                tuple(part.reshape(shape) for part in (texts, scores, status))
            )
        return results


def _steps(schedules, loader, replicas):
    """Yields the groups of this process's replicas, and their batches."""
    local = replicas.local
    parts = [
        minibatch_schedule.split(group, replicas.num_replicas, _PLACES)[
            local.start : local.stop
        ]
        for group in minibatch_schedule.evaluation_groups(
            schedules, _PLACES * replicas.num_replicas, own_places=False
        )
    ]
    flat = [group for groups in parts for group in groups]
    batches = iter(input_pipeline.dataset(loader.batch, flat))
    for groups in parts:
        yield groups, [next(batches) for _ in groups]
