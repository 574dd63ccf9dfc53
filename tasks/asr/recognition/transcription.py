"""Transcribes many speakers' utterances in batches of one padded length.

Several models may hear the same speech, such as a base model without and with
Submodels: each recording is read once, while they are at work on those before.
"""

import copy
import dataclasses
import itertools
from collections import abc

import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import languages as languages_lib
from lingvo_like.base_models import base_model
from lingvo_like.layers import sites
from lingvo_like.stack import stack as stack_lib
from tasks.asr.batches import input_pipeline, padded_audio
from tasks.asr.data import manifest, preparation
from tasks.asr.recognition import statuses
from tpu.distribute import replicas as replicas_lib

# Utterances of a replica's batch.
ROWS = 16

# An utterance's speaker, by slot, and its index among the speaker's.
Place = tuple[int, int]


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
        self.base = base
        self.replicas = replicas or replicas_lib.Replicas()
        self._stack = stack
        self._beam_size = beam_size
        self._rows: abc.Mapping[int, int] | None = None
        # One program for all lengths, where shapes may stay open: to trace one
        # for each takes longer than a small test set.
        self._step = self.replicas.replicate(
            tf.function(
                self._recognize,
                autograph=False,
                input_signature=[_SIGNATURE]
                if self.replicas.is_plain
                else None,
            )
        )

    @property
    def tracing_count(self) -> int:
        """The number of times that the program was traced."""
        return self._step.tracing_count

    def with_rows(self, rows: abc.Mapping[int, int]) -> "Transcriber":
        """The same program, in which speakers use other rows of the stack.

        Args:
            rows: by slot; a speaker who is not there gets no results.
        """
        other = copy.copy(self)
        other._rows = rows
        return other

    def hears(self, slot: int) -> bool:
        """Whether a speaker gets results."""
        return self._rows is None or slot in self._rows

    def transcribe(
        self,
        speakers: abc.Mapping[int, preparation.SpeakerUtterances],
        title: str = "",
    ) -> dict[Place, Recognised]:
        """Recognises every utterance; see the function `transcribe`."""
        (found,) = transcribe([self], speakers, title)
        return found

    def _recognize(self, batch):
        """Decodes the batch's utterances, as `BaseModel.decode`."""
        functions = sites.NONE
        if self._stack is not None:
            functions = self._stack.site_functions(
                self._stack.select(batch["row_indices"])
            )
        features, paddings = self.base.features(
            batch["audio"], batch["lengths"]
        )
        encoded, paddings = self.base.encode(features, paddings, functions)
        return self.base.decode(
            encoded,
            paddings,
            self._beam_size,
            languages=batch["languages"],
            functions=functions,
        )

    def texts(
        self,
        parts: abc.Sequence["_Part"],
        batches: abc.Sequence[replicas_lib.Batch],
        model: int,
    ) -> list[tuple[np.ndarray, ...]]:
        """Each replica's texts, scores and statuses, each `[rows]`.

        Args:
            batches: audio and lengths of each part's utterances.
            model: this one's number among those that hear them.
        """
        batches = [
            self._complete(part, batch, part.buckets[model])
            for part, batch in zip(parts, batches, strict=True)
        ]
        results = []
        for tokens, lengths, scores, ended in self._step(batches):
            # Not a part of the step: an accelerator has no strings.
            texts, status = (
                np.array(
                    [each.decode("utf-8", "replace") for each in part.numpy()],
                    object,
                )
                for part in (
                    self.base.detokenize(tokens, lengths),
                    statuses.of_texts(ended, lengths, self.base.max_tokens),
                )
            )
            results.append((texts, scores.astype(float).astype(object), status))
        return results

    def _complete(self, part, batch, bucket):
        """A batch for this model: its own padded length, and who speaks."""
        audio = np.asarray(batch["audio"])
        rows, num_samples = audio.shape
        row_indices = np.zeros([rows], np.int32)
        languages = np.zeros([rows], np.int32)
        for row, each in enumerate(part.utterances):
            slot = each.place[0]
            given = self._rows
            row_indices[row] = slot if given is None else given.get(slot, 0)
            languages[row] = languages_lib.index(
                self.base.languages, each.utterance.language
            )
        return {
            "audio": tf.constant(
                np.pad(audio, ((0, 0), (0, bucket - num_samples)))
            ),
            "lengths": batch["lengths"],
            "row_indices": tf.constant(row_indices),
            "languages": tf.constant(languages),
        }


_SIGNATURE = {
    "audio": tf.TensorSpec([None, None], tf.float32),
    "lengths": tf.TensorSpec([None], tf.int32),
    "row_indices": tf.TensorSpec([None], tf.int32),
    "languages": tf.TensorSpec([None], tf.int32),
}


def transcribe(
    transcribers: abc.Sequence[Transcriber],
    speakers: abc.Mapping[int, preparation.SpeakerUtterances],
    title: str = "",
) -> list[dict[Place, Recognised]]:
    """Recognises every utterance with each of several models.

    Args:
        transcribers: on the same replicas, of one sample rate.
        speakers: by slot.
        title: of the progress bar.

    Returns:
        for each model its results, by slot and utterance's index; the same in
        every process.

    Raises:
        UnusableError: a recording cannot be read any more.
    """
    first = transcribers[0]
    replicas = first.replicas
    steps = _steps([each.base for each in transcribers], speakers, replicas)
    local = replicas.local
    parts = [step[local.start : local.stop] for step in steps]

    def load(part: _Part) -> dict[str, np.ndarray]:
        # What all models have room for; each pads it further by itself.
        audio, lengths = padded_audio.read(
            [each.utterance for each in part.utterances],
            first.base.sample_rate,
            len(part.utterances) if replicas.is_plain else ROWS,
            min(part.buckets),
        )
        return {"audio": audio, "lengths": lengths}

    batches = iter(
        input_pipeline.dataset(load, itertools.chain.from_iterable(parts))
    )
    rows = []
    total = sum(len(part.utterances) for step in steps for part in step)
    with tqdm.tqdm(total=total, desc=title, unit="utt") as progress:
        for step, of_process in zip(steps, parts, strict=True):
            heard = [next(batches) for _ in of_process]
            for model, transcriber in enumerate(transcribers):
                found = transcriber.texts(of_process, heard, model)
                for part, values in zip(of_process, found, strict=True):
                    rows += [
                        (model, each.place, *value)
                        for each, *value in zip(
                            part.utterances, *values, strict=False
                        )
                        if transcriber.hears(each.place[0])
                    ]
            progress.update(sum(len(part.utterances) for part in step))
    results: list[dict[Place, Recognised]] = [{} for _ in transcribers]
    for of_process in replicas.processes.gather(rows):
        for model, place, *values in of_process:
            results[model][tuple(place)] = Recognised(*values)
    return results


@dataclasses.dataclass(frozen=True)
class _Utterance:
    place: Place
    utterance: manifest.Utterance
    num_samples: int


@dataclasses.dataclass(frozen=True)
class _Part:
    """The utterances of a replica's batch, the longest first.

    Attributes:
        buckets: the padded length that each of the models has for them.
    """

    utterances: tuple[_Utterance, ...]
    buckets: tuple[int, ...]


def _steps(bases, speakers, replicas) -> list[list[_Part]]:
    """The parts of each step, one for each replica of all processes.

    Utterances of one step have the same padded length in every model, and
    neighbours in length share it: they have texts of about the same length.
    """
    by_buckets: dict[tuple[int, ...], list[_Utterance]] = {}
    for slot, data in speakers.items():
        num_samples = data.num_samples(bases[0])
        for index, utterance in enumerate(data.utterances):
            each = _Utterance((slot, index), utterance, num_samples[index])
            buckets = tuple(b.bucket_samples(each.num_samples) for b in bases)
            by_buckets.setdefault(buckets, []).append(each)
    steps = []
    for buckets, utterances in sorted(by_buckets.items()):
        utterances.sort(key=lambda each: (-each.num_samples, each.place))
        parts = [
            _Part(tuple(utterances[first : first + ROWS]), buckets)
            for first in range(0, len(utterances), ROWS)
        ]
        count = replicas.num_replicas
        parts += [_Part((), buckets)] * (-len(parts) % count)
        steps += [parts[i : i + count] for i in range(0, len(parts), count)]
    return steps
