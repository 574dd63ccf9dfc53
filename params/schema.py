"""The dataclasses of values that every experiment fills in.

They hold values only: tasks build layers and pipelines from them. A field that
is named like a layer's argument is that argument. Each class refuses values
that no run could use, also after an override, which builds it anew. Checks
that need the base model itself belong to `tasks.asr.base_loading`.
"""

import dataclasses

from lingvo_like import choices
from params import bases, kinds, settings

# Written out here because the modules that implement them load TensorFlow; a
# test compares both.
COMPUTE_DTYPES = ("float32", "bfloat16")
INITIALIZERS = ("noise", "stack", "encoder", "space")
SUBMODEL_DTYPES = ("float32", "float16")
TEXT_NORMALIZERS = (
    "auto",
    "none",
    "basic",
    "characters",
    "english",
    "torgo",
)


@dataclasses.dataclass(frozen=True)
class Space(settings.Section):
    """The space of learned speaker embeddings, or none.

    With a space, `optimizer` trains the basis that all speakers share.
    """

    section_name = "space"

    embedding_dim: int = settings.value(
        0,
        "Elements of the basis that all speakers share; 0 gives each speaker a "
        "slot instead.",
        at_least=0,
    )
    normalization: str = settings.value(
        "none",
        "How an embedding is normalized before it mixes the basis.",
        choices=choices.NORMALIZATIONS,
    )
    initializer: str = settings.value(
        "noise",
        "Where the embeddings start: noise; encoder, the speaker encoder's "
        "predictions; or the run that --space_from names: stack, the "
        "Submodels of a run with slots, or space, a trained space, which is "
        "fitted again. Its newcomers start where its encoder puts them, or at "
        "its mean.",
        choices=INITIALIZERS,
    )
    initial_scale: float = settings.value(
        1.0,
        "The first embeddings have a standard deviation of this divided by "
        "the square root of embedding_dim.",
        at_least=0.0,
    )
    learning_rate: float = settings.value(
        0.02,
        "Learning rate of the embeddings; the rest of their schedule is the "
        "optimizer's.",
        at_least=0.0,
    )
    weight_decay: float = settings.value(
        0.01,
        "Pulls embeddings towards zero, which is the base model unless they "
        "are normalized.",
        at_least=0.0,
    )
    element_dropout_rate: float = settings.value(
        0.0,
        "Fraction of elements left out of a speaker's mix in a step.",
        at_least=0.0,
        below=1.0,
    )
    speaker_dropout_rate: float = settings.value(
        0.0,
        "How often the mean embedding replaces a speaker's own in a step.",
        at_least=0.0,
        below=1.0,
    )
    speaker_encoder: bool = settings.value(
        False,
        "Also trains a network that predicts an embedding from a few "
        "utterances.",
    )
    encoder_dim: int = settings.value(
        64, "Width of the speaker encoder.", at_least=1
    )
    encoder_learning_rate: float = settings.value(
        1e-3, "Learning rate of the speaker encoder.", at_least=0.0
    )
    prediction_rate: float = settings.value(
        0.0,
        "How often the encoder's prediction replaces a speaker's own embedding "
        "in a step, in addition to being trained towards it.",
        at_least=0.0,
        below=1.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.embedding_dim:
            if self.speaker_encoder or self.initializer != "noise":
                raise ValueError(
                    "`space.speaker_encoder` and `space.initializer` belong "
                    "to a space: set `space.embedding_dim` too. Received: 0."
                )
            return
        if not self.initial_scale:
            raise ValueError(
                "`space.initial_scale` must be positive: embeddings of zero "
                f"never learn. Received: {self.initial_scale}."
            )
        if self.initializer == "stack" and self.normalization != "none":
            raise ValueError(
                "`space.initializer=stack` writes Submodels as plain sums, so "
                "it needs `space.normalization=none`. "
                f"Received: {self.normalization!r}."
            )
        if self.initializer == "encoder" and not self.speaker_encoder:
            raise ValueError(
                "`space.initializer=encoder` needs "
                "`space.speaker_encoder=true`."
            )


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
        "longest decides what every step costs. Recognition has no such limit.",
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


@dataclasses.dataclass(frozen=True)
class Text(settings.Section):
    """How transcripts and hypotheses are compared."""

    section_name = "text"

    normalizer: str = settings.value(
        "auto",
        "Makes texts comparable before errors are counted: english for "
        "English alone, basic for any language, characters for one without "
        "spaces, torgo for that corpus; auto goes by each utterance's "
        "language: english for English and where none is named, characters "
        "for Chinese, Japanese, Thai and the like, basic for all others.",
        choices=TEXT_NORMALIZERS,
    )
    target_word_error_rate: float = settings.value(
        0.15,
        "A speaker's success is a word error rate of at most this.",
        at_least=0.0,
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Base class of every experiment; its docstring is its description."""

    base: bases.Whisper | bases.ConformerCtc = bases.Whisper()
    submodel: kinds.Submodel = kinds.Submodel()
    adapter: kinds.Adapter = kinds.Adapter()
    lora: kinds.Lora = kinds.Lora()
    rotation: kinds.Rotation = kinds.Rotation()
    bias: kinds.Bias = kinds.Bias()
    scale: kinds.Scale = kinds.Scale()
    space: Space = Space()
    optimizer: Optimizer = Optimizer()
    data: Data = Data()
    augment: Augment = Augment()
    train: Train = Train()
    cohort: Cohort = Cohort()
    base_training: bases.BaseTraining = bases.BaseTraining()
    text: Text = Text()

    @property
    def default_language(self) -> str:
        """The language of utterances that name none; "" for none."""
        return getattr(self.base, "language", "")

    def __post_init__(self) -> None:
        parts = (
            self.adapter,
            self.lora,
            self.rotation,
            self.bias,
            self.scale,
        )
        if not any(part.sites for part in parts):
            names = ", ".join(f"`{part.section_name}.sites`" for part in parts)
            raise ValueError(
                f"a Submodel needs sites: set one of {names}. Received: () in "
                "all of them."
            )
        residents = self.train.resident_speakers
        if residents and self.space.embedding_dim:
            raise ValueError(
                "`train.resident_speakers` applies to slots only: the speakers "
                "of a space learn their shared basis together. Set it or "
                f"`space.embedding_dim` to 0. Received: {residents} and "
                f"{self.space.embedding_dim}."
            )
        augment = self.augment
        if self.train.cache_activations and (
            augment.num_freq_masks
            or augment.num_time_masks
            or set(augment.speed_factors) != {1.0}
        ):
            raise ValueError(
                "`train.cache_activations` reuses the activations of unchanged "
                "recordings, so it needs `augment.speed_factors=1.0`, "
                "`augment.num_freq_masks=0` and `augment.num_time_masks=0`. "
                f"Received: {augment.speed_factors}, {augment.num_freq_masks} "
                f"and {augment.num_time_masks}."
            )
