"""Experiments on pretrained Whisper (Radford et al. 2022)."""

import dataclasses

from params import schema


@dataclasses.dataclass(frozen=True)
class Stacked(schema.Experiment):
    """Any Whisper at its 30 s of audio context; adapters after every block.

    The plain choice where compute does not matter: nothing about the base
    changes, and every utterance costs 30 s of encoder.
    """


@dataclasses.dataclass(frozen=True)
class ShortStacked(schema.Experiment):
    """A Whisper made short by tasks.shorten_context; adapters everywhere.

    An utterance costs its own length, so a step is some eight times cheaper
    than `Stacked` on phrases of three seconds.
    """

    base: schema.Whisper = dataclasses.field(
        default_factory=lambda: schema.Whisper(audio_context="short")
    )


@dataclasses.dataclass(frozen=True)
class Demo(ShortStacked):
    """What tasks.demo trains: `ShortStacked` in a few minutes on two cores.

    Small groups, so that few places of a step are empty with 16 speakers.
    """

    train: schema.Train = dataclasses.field(
        default_factory=lambda: schema.Train(
            num_steps=16,
            speakers_per_step=2,
            utterances_per_speaker=4,
            eval_every_steps=8,
        )
    )


def _space(embedding_dim, **values):
    return dataclasses.field(
        default_factory=lambda: schema.Space(
            embedding_dim=embedding_dim,
            # What a step moves a Submodel by grows with its square root.
            learning_rate=0.08 / embedding_dim**0.5,
            element_dropout_rate=0.05,
            speaker_dropout_rate=0.1,
            **values,
        )
    )


def _basis_optimizer(embedding_dim):
    return dataclasses.field(
        default_factory=lambda: schema.Optimizer(
            learning_rate=3e-3 / embedding_dim**0.5
        )
    )


@dataclasses.dataclass(frozen=True)
class ShortEmbedding8(ShortStacked):
    """A space of 8 elements that all speakers share, on a short Whisper.

    For few speakers, or for newcomers with one or two utterances.
    """

    space: schema.Space = _space(8)
    optimizer: schema.Optimizer = _basis_optimizer(8)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding16(ShortStacked):
    """A space of 16 elements that all speakers share, on a short Whisper."""

    space: schema.Space = _space(16)
    optimizer: schema.Optimizer = _basis_optimizer(16)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding32(ShortStacked):
    """A space of 32 elements that all speakers share, on a short Whisper."""

    space: schema.Space = _space(32)
    optimizer: schema.Optimizer = _basis_optimizer(32)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding64(ShortStacked):
    """A space of 64 elements that all speakers share, on a short Whisper.

    For hundreds of speakers and more: a basis of 64 fits 64 of them exactly.
    """

    space: schema.Space = _space(64)
    optimizer: schema.Optimizer = _basis_optimizer(64)


@dataclasses.dataclass(frozen=True)
class ShortEmbedding16Encoder(ShortStacked):
    """`ShortEmbedding16` with a speaker encoder, for zero-shot enrolment."""

    space: schema.Space = _space(16, speaker_encoder=True, prediction_rate=0.25)
    optimizer: schema.Optimizer = _basis_optimizer(16)
