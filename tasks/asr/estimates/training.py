"""What a job of training will need, told before anything large is loaded."""

import collections
import dataclasses
import sys
from collections import abc

from lingvo_like.base_models.whisper import (
    checkpoints,
    encoder_decoder,
    frontend,
    model as whisper,
)
from params import bases, schema
from tasks.asr.batches import input_pipeline
from tasks.asr.data import manifest
from tasks.asr.estimates import cost, needs, words

# A job longer than this is told what would be quicker.
LONG_SECONDS = 2 * 3600
# Of an utterance whose manifest does not say how long it is.
_UNKNOWN_SECONDS = 8.0
# Letters of a token, at least, in texts of several words.
_LETTERS_PER_TOKEN = 3
# Of the places of a step, those that are filled in a job of many speakers.
_FILLED = 0.8
# What an evaluation costs of what a training step costs.
_EVALUATION = 0.4
# Moments, and the best weights so far.
_COPIES_OF_SUBMODEL = 4


@dataclasses.dataclass(frozen=True)
class Speech:
    """What a manifest says of its recordings.

    Attributes:
        durations: seconds, by speaker.
        letters: of the longest transcript.
    """

    durations: dict[str, list[float]]
    letters: int

    @property
    def longest(self) -> float:
        return max((max(each) for each in self.durations.values()), default=0.0)


def read_speech(lines: abc.Iterable[manifest.Utterance]) -> Speech:
    """What is known of utterances whose recordings nobody has looked at."""
    durations, letters = collections.defaultdict(list), 0
    for each in lines:
        seconds = each.duration or _UNKNOWN_SECONDS
        durations[each.speaker].append(seconds)
        letters = max(letters, len(each.text))
    return Speech(dict(durations), letters)


@dataclasses.dataclass(frozen=True)
class Job:
    """A job of training, by what it costs.

    Attributes:
        dimensions: of the Whisper; None for a Conformer.
        has_dev: whether dev losses are measured.
    """

    experiment: schema.Experiment
    dimensions: encoder_decoder.Dimensions | None
    speech: Speech
    has_dev: bool = False
    num_replicas: int = 1

    def _places(self) -> int:
        share = -(-len(self.speech.durations) // self.num_replicas)
        return min(self.experiment.train.speakers_per_step, max(share, 1))

    def _rows(self) -> int:
        """Utterances of a step on all replicas, which share the memory."""
        values = self.experiment.train
        places = self._places() * self.num_replicas
        return places * values.utterances_per_speaker

    def shapes(self, seconds: float) -> cost.Shapes:
        """Of a step whose longest utterance has so many seconds."""
        base = self.experiment.base
        lowest = min(self.experiment.adapter.blocks, default=0)
        if isinstance(base, bases.ConformerCtc):
            buckets = base.buckets_seconds
            bucket = next((b for b in buckets if b >= seconds), max(buckets))
            samples = round(bucket * base.sample_rate)
            return cost.of_conformer(base, self._rows(), samples, lowest)
        if self.dimensions is None:
            raise ValueError("a Whisper needs its `dimensions`")
        letters = self.speech.letters / _LETTERS_PER_TOKEN
        tokens = input_pipeline.token_bucket(
            [range(int(letters) + 1)], self.experiment.train.max_tokens
        )
        rate = frontend.SAMPLE_RATE
        samples = whisper.padded_samples(
            round(seconds * rate),
            30 * rate,
            base.audio_context,
            round(whisper.DEFAULT_TAIL_SECONDS * rate),
        )
        return cost.of_whisper(
            self.dimensions, self._rows(), samples, tokens, lowest
        )

    def num_bytes(self) -> float:
        """Memory at the peak."""
        shapes = self.shapes(self.speech.longest)
        adapter = self.experiment.adapter
        blocks = len(adapter.blocks) or shapes.blocks
        submodel = blocks * 2 * shapes.width * (adapter.bottleneck_dim + 1)
        residents = self.experiment.train.resident_speakers
        speakers = residents or len(self.speech.durations)
        stack = speakers * submodel * _COPIES_OF_SUBMODEL * 4
        return shapes.num_bytes() + stack

    def seconds(self, rates: tuple[float, float]) -> float:
        """Of all steps and evaluations, without what comes before them.

        Args:
            rates: products and floats a second.
        """
        values = self.experiment.train
        steps = collections.defaultdict(float)
        for durations in self.speech.durations.values():
            ordered = sorted(durations, reverse=True)
            longest = ordered[:: values.utterances_per_speaker]
            for seconds in longest:
                steps[round(seconds)] += values.num_steps / len(longest)
        by_length = {
            length: self.shapes(length).seconds(*rates) for length in steps
        }
        places = self._places() * self.num_replicas
        filled = (
            places
            if len(self.speech.durations) <= places
            else (max(1, _FILLED * places))
        )
        total = sum(
            count / filled * by_length[length]
            for length, count in steps.items()
        )
        if self.has_dev:
            total *= 1 + _EVALUATION / values.eval_every_steps
        return total

    def changed(self, **train: int) -> "Job":
        """The job with other values of `train`."""
        values = dataclasses.replace(self.experiment.train, **train)
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, train=values)
        )

    def short(self) -> "Job | None":
        """The job on a short context; None if it is or cannot have one."""
        base = self.experiment.base
        if isinstance(base, bases.ConformerCtc):
            return None
        if base.audio_context == "short":
            return None
        base = dataclasses.replace(base, audio_context="short")
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, base=base)
        )


def job(
    experiment: schema.Experiment,
    base_path: str,
    train_manifest: str,
    dev_manifest: str = "",
    num_replicas: int = 1,
) -> Job | None:
    """The job of these flags; None where its base's size cannot be told.

    Raises:
        ValueError, OSError: the manifest or the base cannot be read.
    """
    dimensions = None
    if isinstance(experiment.base, bases.Whisper):
        dimensions, _ = checkpoints.outline(base_path)
        if dimensions is None:
            return None
    speech = read_speech(manifest.read_lines(train_manifest).utterances)
    if not speech.durations:
        return None
    return Job(experiment, dimensions, speech, bool(dev_manifest), num_replicas)


def check(job: Job, check_memory: bool = True) -> None:
    """Says what a job will need, and refuses it where it does not fit.

    Args:
        check_memory: False to go on all the same.

    Raises:
        ValueError: it takes more memory than there is; with settings that fit.
    """
    rates = needs.rates()
    seconds = job.seconds(rates)
    needs.check(
        job.num_bytes(),
        seconds,
        lambda memory: _what_fits(job, memory.usable),
        check_memory,
    )
    if seconds > LONG_SECONDS:
        print(f"warning: {_what_is_quicker(job, rates)}", file=sys.stderr)


def _what_fits(job: Job, free: float) -> str:
    found = []
    values = job.experiment.train
    sizes = [
        (places, values.utterances_per_speaker)
        for places in range(job._places() - 1, 0, -1)
    ]
    utterances = values.utterances_per_speaker // 2
    while utterances:
        sizes.append((1, utterances))
        utterances //= 2
    for places, utterances in sizes:
        names = {"speakers_per_step": places}
        if utterances != values.utterances_per_speaker:
            names["utterances_per_speaker"] = utterances
        needed = job.changed(**names).num_bytes()
        if needed <= free:
            flags = " ".join(f"--set=train.{k}={v}" for k, v in names.items())
            same = "" if len(names) > 1 else " (a speaker learns the same)"
            found.append(f"{flags} takes {words.memory(needed)}{same}")
            break
    short = job.short()
    if short and short.num_bytes() <= free:
        found.append(
            "--experiment=whisper.ShortStacked, with its short base, takes "
            f"{words.memory(short.num_bytes())}"
        )
    if not found:
        return "No setting makes it fit; take a smaller base model"
    return "; ".join(found)


def _what_is_quicker(job: Job, rates: tuple[float, float]) -> str:
    found = []
    short = job.short()
    if short:
        found.append(
            "--experiment=whisper.ShortStacked, with its short base, takes "
            f"{words.duration(short.seconds(rates))}"
        )
    fewer = max(1, job.experiment.train.num_steps // 4)
    found.append(f"--set=train.num_steps={fewer} takes a quarter of it")
    return (
        f"{words.duration(job.seconds(rates))} are a long time. "
        f"{'; '.join(found)}"
    )
