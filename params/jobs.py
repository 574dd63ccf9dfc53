"""The dataclasses of values of a job: its data, its optimizer, its steps."""

import dataclasses

from lingvo_like import choices
from params import settings

COMPUTE_DTYPES = ("float32", "bfloat16")
# Written out here because the module that implements them loads TensorFlow; a
# test compares both.
SUBMODEL_DTYPES = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class Optimizer(settings.Section):
    """AdamW with a schedule. For Submodels every value holds per slot."""

    section_name = "optimizer"

    learning_rate: float = settings.value(
        2e-3, "The highest rate, after the warmup.", at_least=0.0
    )
    warmup_steps: int = settings.value(
        10, "Steps in which the rate rises from zero.", at_least=0
    )
    decay: str = settings.value(
        "cosine",
        "How the rate falls after the warmup: not at all, or to zero at the "
        "last step.",
        choices=choices.DECAYS,
    )
    beta_1: float = settings.value(
        0.9, "Decay of the mean of gradients.", at_least=0.0, below=1.0
    )
    beta_2: float = settings.value(
        0.98,
        "Decay of the mean of squared gradients.",
        at_least=0.0,
        below=1.0,
    )
    epsilon: float = settings.value(
        1e-8,
        "Added to the root of squared gradients, by which a step is divided.",
        # With zero, a tensor without a gradient would be divided by zero.
        at_least=1e-30,
    )
    weight_decay: float = settings.value(
        0.01, "Pulls weights towards zero, the base model.", at_least=0.0
    )
    clip_norm: float = settings.value(
        1.0,
        "Largest gradient norm of one Submodel; 0 turns clipping off.",
        at_least=0.0,
    )


@dataclasses.dataclass(frozen=True)
class Data(settings.Section):
    """How utterances are prepared before anything learns from them."""

    section_name = "data"

    trim_silence: bool = settings.value(
        False,
        "Cuts the silence before and after every utterance, in training, "
        "evaluation and enrolment. Needs the extra io.",
    )


@dataclasses.dataclass(frozen=True)
class Augment(settings.Section):
    """Augmentation, drawn from random streams keyed by (speaker, step)."""

    section_name = "augment"

    # Beyond these no resampled voice sounds human; zero has no length.
    speed_factors: tuple[float, ...] = settings.value(
        (1.0,),
        "Speeds that an utterance is played at, drawn anew in every step, such "
        "as 0.9,1.0,1.1.",
        at_least=0.1,
        at_most=10,
    )
    num_freq_masks: int = settings.value(
        0, "Bands of mel bins that are masked in a step.", at_least=0
    )
    freq_mask_max_bins: int = settings.value(
        15, "The most bins of a band.", at_least=0
    )
    num_time_masks: int = settings.value(
        0, "Stretches of time that are masked in a step.", at_least=0
    )
    time_mask_max_frames: int = settings.value(
        25, "The most frames of a stretch.", at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.speed_factors:
            raise ValueError(
                "`augment.speed_factors` must be at least one factor, such as "
                "1.0. Received: ()."
            )


@dataclasses.dataclass(frozen=True)
class Train(settings.Section):
    """How a job runs. Steps are a speaker's own, not the job's."""

    section_name = "train"

    seed: int = settings.value(
        0, "Seed of all random draws; another seed gives another run."
    )
    num_steps: int = settings.value(
        200, "Updates of each speaker's Submodel.", at_least=0
    )
    speakers_per_step: int = settings.value(
        4,
        "Speakers that learn in one step of each replica. Memory and the time "
        "of a step grow with it. 1 suits a CPU; an accelerator wants as many "
        "as fit.",
        at_least=1,
    )
    utterances_per_speaker: int = settings.value(
        8,
        "Utterances of each speaker in a step. Memory and the time of a step "
        "grow with it.",
        at_least=1,
    )
    resident_speakers: int = settings.value(
        0,
        "How many speakers have their Submodels, moments and step counts on "
        "the accelerators at a time; the others wait until a speaker is done. "
        "0: all of them, from the start.",
        at_least=0,
    )
    steps_per_call: int = settings.value(
        1,
        "Updates made in one call of the accelerator, where groups of the "
        "same padded length follow one another. A space on several replicas "
        "takes one.",
        at_least=1,
    )
    compute_dtype: str = settings.value(
        "float32",
        "The precision of the frozen base. Submodels, moments and losses stay "
        "in float32.",
        choices=COMPUTE_DTYPES,
    )
    eval_every_steps: int = settings.value(
        50,
        "Steps of a speaker from one measurement of the dev loss to the next.",
        at_least=1,
    )
    patience: int = settings.value(
        0,
        "Evaluations without a better dev loss after which a speaker stops; 0: "
        "never early.",
        at_least=0,
    )
    checkpoint_every_seconds: int = settings.value(
        120, "Seconds from one checkpoint of the job to the next.", at_least=0
    )
    cache_activations: bool = settings.value(
        False,
        "Computes the frozen activations below the lowest site only once, "
        "and keeps them on this machine's disk.",
    )
    submodel_dtype: str = settings.value(
        "float32",
        "Type of the values in Submodel files; float16 halves their size.",
        choices=SUBMODEL_DTYPES,
    )
    dev_share: float = settings.value(
        0.1,
        "Share of each speaker's utterances that is held out as dev speech, "
        "where there is no dev manifest.",
        at_least=0.0,
        at_most=0.5,
    )
    min_utterances: int = settings.value(
        1, "A speaker with fewer utterances is left out.", at_least=0
    )
    max_tokens: int = settings.value(
        64,
        "An utterance whose transcript has more tokens is left out: the "
        "longest of a step decides what it costs. Recognition has no such "
        "limit.",
        at_least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        residents = self.resident_speakers
        if residents and residents < self.speakers_per_step:
            raise ValueError(
                "`train.resident_speakers` must be 0 or at least "
                "`train.speakers_per_step`, the speakers of one step. "
                f"Received: {residents} and {self.speakers_per_step}."
            )


@dataclasses.dataclass(frozen=True)
class Cohort(settings.Section):
    """The Submodel that speakers share; all else of it is as of theirs."""

    section_name = "cohort"

    num_steps: int = settings.value(
        200, "Updates of the Submodel of a cohort, with --cohort.", at_least=1
    )
