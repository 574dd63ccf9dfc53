"""The memory and time of a training job, before anything large is loaded."""

import collections
import dataclasses
import functools
import math
import sys
from collections import abc

from lingvo_like.base_models import base_model, conformer_ctc
from lingvo_like.base_models.whisper import architecture, checkpoints
from lingvo_like.submodel import layout as submodel_layout
from params import bases, schema
from tasks.asr import layouts
from tasks.asr.batches import input_pipeline, speaker_places
from tasks.asr.data import manifest
from tasks.asr.estimates import cost, machine, needs

# A job longer than this is told what would be quicker.
_LONG_SECONDS = 2 * 3600
# Letters of a token, at least, in texts of several words.
_LETTERS_PER_TOKEN = 3
# Of the places of a step, those that are filled in a job of many speakers.
_FILLED = 0.8
# What an evaluation costs of what a training step costs.
_EVALUATION = 0.4
# Moments, and the best weights so far.
_COPIES_OF_SUBMODEL = 4
# Batches that wait, are made or train.
_BATCHES = 4
# Speakers with a row at a time that are tried where all do not fit.
_RESIDENTS = (1024, 256, 64)


@dataclasses.dataclass(frozen=True)
class Speech:
    """The lengths of recordings and texts, from a manifest alone.

    Attributes:
        durations: seconds, by speaker.
        letters: of the longest transcript.
        mean_letters: of all transcripts.
    """

    durations: dict[str, list[float]]
    letters: int
    mean_letters: float

    @property
    def longest(self) -> float:
        return max(max(each) for each in self.durations.values())


def read_speech(
    lines: abc.Iterable[manifest.Utterance], limit: float = math.inf
) -> Speech:
    """The `Speech` of utterances whose recordings nobody has looked at.

    Args:
        limit: seconds; utterances that are longer are left out.
    """
    durations, letters = collections.defaultdict(list), [0]
    for each in lines:
        seconds = each.duration or cost.UNKNOWN_SECONDS
        if seconds > limit:
            continue
        durations[each.speaker].append(seconds)
        letters.append(len(each.text))
    mean = sum(letters) / max(len(letters) - 1, 1)
    return Speech(dict(durations), max(letters), mean)


@dataclasses.dataclass(frozen=True)
class Job:
    """A job of training, by what it costs.

    Attributes:
        dimensions: of the Whisper; None for a Conformer.
        has_dev: whether dev losses are measured.
        num_replicas: in all processes.
        num_local: in this process, whose memory they share.
        only: the speakers who train; all if empty.
        num_cohorts: whose Submodels are trained before.
    """

    experiment: schema.Experiment
    dimensions: architecture.Dimensions | None
    speech: Speech
    has_dev: bool = False
    num_replicas: int = 1
    num_local: int = 1
    only: tuple[str, ...] = ()
    num_cohorts: int = 0

    def places(self) -> int:
        """Of each replica."""
        return speaker_places.num_places(
            self.experiment.train,
            len(self.speech.durations),
            self.num_replicas,
        )

    @property
    def _whisper_dimensions(self) -> architecture.Dimensions:
        if self.dimensions is None:
            raise ValueError("a Whisper needs its `dimensions`")
        return self.dimensions

    @functools.cached_property
    def layout(self) -> submodel_layout.Layout:
        """Of a Submodel."""
        base = self.experiment.base
        if isinstance(base, bases.ConformerCtc):
            found = conformer_ctc.all_sites(
                base.num_blocks, base.model_dim, base.feed_forward_expansion
            )
        else:
            found = architecture.all_sites(self._whisper_dimensions)
        return layouts.of(found, self.experiment)

    def shapes(self, seconds: float, letters: float) -> cost.Shapes:
        """Of a step of this process.

        Args:
            seconds: of the longest utterance.
            letters: of the longest transcript.
        """
        base, values = self.experiment.base, self.experiment.train
        rows = self.places() * self.num_local * values.utterances_per_speaker
        if isinstance(base, bases.ConformerCtc):
            first = base_model.first_block(
                self.layout.site_names, base.num_blocks
            )
            return cost.of_conformer(base, rows, seconds, first)
        dimensions = self._whisper_dimensions
        first = base_model.first_block(
            self.layout.site_names, dimensions.num_blocks
        )
        tokens = input_pipeline.token_bucket(
            [range(int(letters) // _LETTERS_PER_TOKEN + 1)], values.max_tokens
        )
        return cost.of_whisper(
            dimensions, rows, seconds, tokens, base.audio_context, first
        )

    def num_bytes(self) -> float:
        """Memory at the peak."""
        shapes = self.shapes(self.speech.longest, self.speech.letters)
        values, submodel = self.experiment.train, self.layout.num_values
        num_speakers = len(self.speech.durations)
        # A space has as many as its basis, whoever trains in it.
        num_submodels = self.experiment.space.embedding_dim or min(
            values.resident_speakers or num_speakers, num_speakers
        )
        floats = num_submodels * submodel * _COPIES_OF_SUBMODEL
        samples = shapes.rows * shapes.samples
        floats += _BATCHES * values.steps_per_call * samples
        # Each replica has a base of its own.
        floats += (self.num_local - 1) * shapes.parameters
        return shapes.num_bytes() + floats * cost.FLOAT_BYTES

    def seconds(self, products_per_second: float) -> float:
        """Of all steps and evaluations, without what comes before them."""
        values = self.experiment.train
        speech = {
            speaker: durations
            for speaker, durations in self.speech.durations.items()
            if not self.only or speaker in self.only
        }
        if not speech:
            return 0.0
        longest = [
            seconds
            for durations in speech.values()
            for seconds in sorted(durations)[:: -values.utterances_per_speaker]
        ]
        step = self.shapes(
            sum(longest) / len(longest), self.speech.mean_letters
        )
        places = self.places() * self.num_replicas
        if len(speech) > places:
            places = max(1, _FILLED * places)
        num_steps = values.num_steps * max(1, len(speech) / places)
        num_steps += self.num_cohorts * self.experiment.cohort.num_steps
        if self.has_dev:
            num_steps *= 1 + _EVALUATION / values.eval_every_steps
        return cost.STEPS_COMPILING_SECONDS + num_steps * step.seconds(
            products_per_second
        )

    def changed(self, section: str, **values: object) -> "Job":
        """The job with other values of a section of its experiment."""
        old = getattr(self.experiment, section)
        new = {section: dataclasses.replace(old, **values)}
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, **new)
        )

    def short(self) -> "Job | None":
        """The job on a short context; None if it is or cannot have one."""
        base = self.experiment.base
        is_full = isinstance(base, bases.Whisper) and base.audio_context != (
            "short"
        )
        return self.changed("base", audio_context="short") if is_full else None


def job(
    experiment: schema.Experiment,
    base_path: str,
    train_manifest: str,
    has_dev: bool = False,
    num_replicas: int = 1,
    num_local: int = 1,
    only: abc.Iterable[str] = (),
    cohorts_by: str = "",
) -> Job | None:
    """The job of these flags; None where its base's size cannot be told.

    Args:
        has_dev: whether dev losses are measured.
        cohorts_by: one of `cohorts.BY`, or empty.

    Raises:
        ValueError, OSError: the manifest or the base cannot be read.
    """
    dimensions = None
    if isinstance(experiment.base, bases.ConformerCtc):
        limit = max(experiment.base.buckets_seconds)
    else:
        dimensions, _ = checkpoints.outline(base_path)
        if dimensions is None:
            return None
        limit = cost.whisper_limit(dimensions)
    lines = manifest.read_lines(train_manifest).utterances
    speech = read_speech(lines, limit)
    if not speech.durations:
        return None
    return Job(
        experiment,
        dimensions,
        speech,
        has_dev,
        num_replicas,
        num_local,
        tuple(only),
        len({getattr(each, cohorts_by, "") for each in lines})
        if cohorts_by
        else 0,
    )


def check(
    job: Job, check_memory: bool = True, is_continued: bool = False
) -> float:
    """Says what a job will need, and refuses it where it does not fit.

    Args:
        check_memory: False to go on all the same.
        is_continued: a part of it may be done; how much, only its checkpoint
            knows.

    Returns:
        seconds of all of it.

    Raises:
        ValueError: it takes more memory than there is; with settings that fit.
    """
    rate = machine.products_per_second()
    seconds = job.seconds(rate)
    needs.check(
        job.num_bytes(),
        seconds,
        "to train" + ", all of it, less what is done" * is_continued,
        lambda free: _what_fits(job, free),
        check_memory,
    )
    if seconds > _LONG_SECONDS and not is_continued:
        advice = _what_is_quicker(job, rate)
        print(
            f"warning: {needs.duration(seconds)} are a long time. {advice}",
            file=sys.stderr,
        )
    return seconds


def _what_fits(job: Job, free: float) -> str:
    found = []
    values = job.experiment.train
    smaller: list[dict[str, int]] = []
    if not job.experiment.space.embedding_dim:
        smaller += [
            {"resident_speakers": residents}
            for residents in _RESIDENTS
            if job.places() <= residents < len(job.speech.durations)
        ]
    smaller += [
        {"speakers_per_step": places}
        for places in range(job.places() - 1, 0, -1)
    ]
    utterances = values.utterances_per_speaker // 2
    while utterances:
        smaller.append(
            {"speakers_per_step": 1, "utterances_per_speaker": utterances}
        )
        utterances //= 2
    for changes in smaller:
        needed = job.changed("train", **changes).num_bytes()
        if needed <= free:
            flags = " ".join(f"--set=train.{k}={v}" for k, v in changes.items())
            is_same = "utterances_per_speaker" not in changes
            same = " (a speaker learns the same)" if is_same else ""
            found.append(f"{flags} takes {needs.memory(needed)}{same}")
            break
    short = job.short()
    if short and short.num_bytes() <= free:
        found.append(
            "--experiment=whisper.ShortStacked, with its short base, takes "
            f"{needs.memory(short.num_bytes())}"
        )
    return "; ".join(found) or (
        "No setting makes it fit; take a smaller base model"
    )


def _what_is_quicker(job: Job, products_per_second: float) -> str:
    found = []
    short = job.short()
    if short:
        found.append(
            "--experiment=whisper.ShortStacked, with its short base, takes "
            f"{needs.duration(short.seconds(products_per_second))}"
        )
    fewer = max(1, job.experiment.train.num_steps // 4)
    found.append(f"--set=train.num_steps={fewer} takes a quarter of it")
    return "; ".join(found)
