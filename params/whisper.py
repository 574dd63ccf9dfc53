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
            num_steps=20,
            speakers_per_step=2,
            utterances_per_speaker=4,
            eval_every_steps=10,
        )
    )
