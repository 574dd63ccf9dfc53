"""Experiments on pretrained Whisper (Radford et al. 2022)."""

import dataclasses
from typing import Any

from params import bases, jobs, kinds, schema, spaces

_SHORT = bases.Whisper(audio_context="short")
# Less than half a percent of a base model's parameters.
_PROJECTIONS = kinds.Lora(
    sites=(
        "encoder/*/attention/query",
        "encoder/*/attention/value",
        "decoder/*/source_attention/query",
        "decoder/*/source_attention/value",
        "*/*/feed_forward/expand",
        "*/*/feed_forward/contract",
    )
)


@dataclasses.dataclass(frozen=True)
class Stacked(schema.Experiment):
    """Any Whisper at its 30 s of audio context; LoRA in every block.

    The simplest choice if compute does not matter: the base stays as it is, and
    every utterance costs 30 s of encoder.
    """

    adapter: kinds.Adapter = kinds.Adapter(sites=())
    lora: kinds.Lora = _PROJECTIONS


@dataclasses.dataclass(frozen=True)
class ShortStacked(Stacked):
    """A Whisper made short by tasks.shorten_context; LoRA in every block.

    An utterance costs its own length: on phrases of three seconds a step is
    about eight times cheaper than with `Stacked`. A step is of one speaker:
    on a CPU, more save nothing, and few speakers leave places of a step empty.
    An accelerator wants as many as its memory takes.
    """

    base: bases.Whisper = _SHORT
    train: jobs.Train = jobs.Train(speakers_per_step=1)


@dataclasses.dataclass(frozen=True)
class ShortAdapters(ShortStacked):
    """`ShortStacked` with an adapter after every encoder block, as in spaces.

    A space can start from such a run (space.initializer=stack).
    """

    adapter: kinds.Adapter = kinds.Adapter()
    lora: kinds.Lora = kinds.Lora()


@dataclasses.dataclass(frozen=True)
class Demo(ShortStacked):
    """`ShortStacked` in a few minutes on two cores, for tasks.demo.

    Groups are small, so that 16 speakers leave few places of a step empty.
    """

    train: jobs.Train = jobs.Train(
        num_steps=16,
        speakers_per_step=2,
        utterances_per_speaker=4,
        eval_every_steps=8,
    )


def _space(embedding_dim: int, **values: Any) -> spaces.Space:
    return spaces.Space(
        embedding_dim=embedding_dim,
        # A step moves a Submodel by an amount that grows with the square
        # root of the dimension.
        learning_rate=0.08 / embedding_dim**0.5,
        element_dropout_rate=0.05,
        speaker_dropout_rate=0.1,
        **values,
    )


def _basis_optimizer(embedding_dim: int) -> jobs.Optimizer:
    return jobs.Optimizer(learning_rate=3e-3 / embedding_dim**0.5)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding8(schema.Experiment):
    """A space of 8 elements that all speakers share, on a short Whisper.

    Suits few speakers, and newcomers with one or two utterances.
    """

    base: bases.Whisper = _SHORT
    space: spaces.Space = _space(8)
    optimizer: jobs.Optimizer = _basis_optimizer(8)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding16(schema.Experiment):
    """A space of 16 elements that all speakers share, on a short Whisper."""

    base: bases.Whisper = _SHORT
    space: spaces.Space = _space(16)
    optimizer: jobs.Optimizer = _basis_optimizer(16)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding32(schema.Experiment):
    """A space of 32 elements that all speakers share, on a short Whisper."""

    base: bases.Whisper = _SHORT
    space: spaces.Space = _space(32)
    optimizer: jobs.Optimizer = _basis_optimizer(32)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding64(schema.Experiment):
    """A space of 64 elements that all speakers share, on a short Whisper.

    Suits hundreds of speakers and more: a basis of 64 fits 64 of them exactly.
    """

    base: bases.Whisper = _SHORT
    space: spaces.Space = _space(64)
    optimizer: jobs.Optimizer = _basis_optimizer(64)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding16Encoder(ShortEmbedding16):
    """`ShortEmbedding16` with a speaker encoder, for zero-shot enrolment."""

    space: spaces.Space = _space(16, speaker_encoder=True, prediction_rate=0.25)
