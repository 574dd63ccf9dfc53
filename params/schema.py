"""The dataclasses of values that every experiment fills in.

They hold values only: tasks build layers and pipelines from them. A field that
is named like a layer's argument is that argument. Each class refuses values
that no run could use, also after an override, which builds it anew. Checks
that need the base model itself belong to `tasks.asr.base_loading`.
"""

import dataclasses

from params import checked_values

# Written out here because the modules that implement them load TensorFlow; a
# test compares both.
AUDIO_CONTEXTS = ("full", "short")
COMPUTE_DTYPES = ("float32", "bfloat16")
DECAYS = ("constant", "linear", "cosine")
INITIALIZERS = ("noise", "stack", "encoder", "space")
NORMALIZATIONS = ("none", "softmax", "unit")
SUBMODEL_DTYPES = ("float32", "float16")
TEXT_NORMALIZERS = ("none", "basic", "english", "torgo")


@dataclasses.dataclass(frozen=True)
class Whisper(checked_values.Section):
    """A pretrained Whisper, read from `--base`."""

    section_name = "base"

    # "full" is the 30 s of audio context that Whisper was trained on. "short"
    # pads to the utterance and needs a base made by tasks.shorten_context.
    audio_context: str = "full"
    language: str = "en"
    max_tokens: int = 64

    def __post_init__(self) -> None:
        self.check_choice("audio_context", AUDIO_CONTEXTS)
        self.check_range(1, "max_tokens")


@dataclasses.dataclass(frozen=True)
class ConformerCtc(checked_values.Section):
    """A Conformer encoder with a CTC head (Gulati et al. 2020)."""

    section_name = "base"

    model_dim: int = 144
    num_blocks: int = 16
    num_heads: int = 4
    kernel_size: int = 32
    feed_forward_expansion: int = 4
    dropout_rate: float = 0.1
    sample_rate: int = 16000
    num_bins: int = 80
    frame_length_ms: float = 25.0
    frame_step_ms: float = 10.0
    lower_edge_hertz: float = 80.0
    upper_edge_hertz: float = 7600.0
    # Padded lengths in seconds. Each is compiled once.
    buckets_seconds: tuple[float, ...] = (4.0, 8.0, 12.0, 16.0, 24.0, 35.0)
    # "characters", or the path of a SentencePiece model.
    vocabulary: str = "characters"
    max_tokens: int = 400

    def __post_init__(self) -> None:
        self.check_range(
            1,
            "model_dim",
            "num_blocks",
            "num_heads",
            "kernel_size",
            "feed_forward_expansion",
            "sample_rate",
            "num_bins",
            "max_tokens",
        )
        self.check_range(0.0, "dropout_rate", below=1.0)
        self.check_range(
            0.0, "frame_length_ms", "frame_step_ms", "lower_edge_hertz"
        )


@dataclasses.dataclass(frozen=True)
class Adapter(checked_values.Section):
    """The residual adapters of every Submodel of the job."""

    section_name = "adapter"

    bottleneck_dim: int = 32
    # Encoder blocks that an adapter follows; empty means every block.
    blocks: tuple[int, ...] = ()
    residual_weight: float = 1.0
    dropout_rate: float = 0.1
    # Gives every speaker the same initial down projections, so that Submodels
    # can be summed: a space can start from them (`space.initializer=stack`).
    shared_start: bool = False

    def __post_init__(self) -> None:
        self.check_range(1, "bottleneck_dim")
        self.check_range(0.0, "dropout_rate", below=1.0)


@dataclasses.dataclass(frozen=True)
class Space(checked_values.Section):
    """The space of learned speaker embeddings, or none.

    With a space, `optimizer` trains the basis that all speakers share.
    """

    section_name = "space"

    # The number of elements of the basis; 0 gives each speaker a slot instead.
    embedding_dim: int = 0
    # How an embedding is normalized before it mixes the basis: "none",
    # "softmax" or "unit".
    normalization: str = "none"
    # Where the embeddings start: "noise"; "encoder", the speaker encoder's
    # predictions; or the run that --space_from names: "stack", the Submodels
    # of a run with slots, or "space", a trained space, which is fitted again.
    # Its newcomers start where its encoder puts them, or at its mean.
    initializer: str = "noise"
    # The first embeddings have a standard deviation of
    # initial_scale / sqrt(embedding_dim).
    initial_scale: float = 1.0
    # Of the embeddings; the rest of their schedule is that of `optimizer`.
    learning_rate: float = 0.02
    # Pulls embeddings towards zero, which is the base model unless they are
    # normalized.
    weight_decay: float = 0.01
    # Fraction of elements left out of a speaker's mix in a step.
    element_dropout_rate: float = 0.0
    # How often the mean embedding replaces a speaker's own in a step.
    speaker_dropout_rate: float = 0.0
    # A network that predicts an embedding from a few utterances.
    speaker_encoder: bool = False
    encoder_dim: int = 64
    encoder_learning_rate: float = 1e-3
    # How often its prediction replaces a speaker's own embedding in a step, in
    # addition to being trained towards it.
    prediction_rate: float = 0.0

    def __post_init__(self) -> None:
        self.check_range(0, "embedding_dim")
        self.check_range(
            0.0,
            "initial_scale",
            "learning_rate",
            "weight_decay",
            "encoder_learning_rate",
        )
        self.check_range(
            0.0,
            "element_dropout_rate",
            "speaker_dropout_rate",
            "prediction_rate",
            below=1.0,
        )
        self.check_range(1, "encoder_dim")
        self.check_choice("normalization", NORMALIZATIONS)
        self.check_choice("initializer", INITIALIZERS)
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
class Optimizer(checked_values.Section):
    """AdamW with a schedule. For Submodels every value holds per slot."""

    section_name = "optimizer"

    learning_rate: float = 2e-3
    warmup_steps: int = 10
    # "constant", "linear" or "cosine", down to zero at the last step.
    decay: str = "cosine"
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    # Largest gradient norm of one Submodel; 0 turns clipping off.
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        self.check_range(0.0, "learning_rate", "weight_decay", "clip_norm")
        self.check_range(0, "warmup_steps")
        self.check_range(0.0, "beta_1", "beta_2", below=1.0)
        # With zero, a tensor without a gradient would be divided by zero.
        self.check_range(1e-30, "epsilon")
        self.check_choice("decay", DECAYS)


@dataclasses.dataclass(frozen=True)
class Data:
    """How utterances are prepared before anything learns from them."""

    # Cuts the silence before and after every utterance, in training,
    # evaluation and enrolment. Needs the extra `io`.
    trim_silence: bool = False


@dataclasses.dataclass(frozen=True)
class Augment(checked_values.Section):
    """Augmentation, drawn from random streams keyed by (speaker, step)."""

    section_name = "augment"

    speed_factors: tuple[float, ...] = (1.0,)
    num_freq_masks: int = 0
    freq_mask_max_bins: int = 15
    num_time_masks: int = 0
    time_mask_max_frames: int = 25

    def __post_init__(self) -> None:
        self.check_range(
            0,
            "num_freq_masks",
            "freq_mask_max_bins",
            "num_time_masks",
            "time_mask_max_frames",
        )
        # Beyond these no resampled voice sounds human; zero has no length.
        factors = self.speed_factors
        if not factors or not all(0.1 <= factor <= 10 for factor in factors):
            raise ValueError(
                "`augment.speed_factors` must be factors from 0.1 to 10, such "
                f"as 0.9,1.0,1.1. Received: {factors}."
            )


@dataclasses.dataclass(frozen=True)
class Train(checked_values.Section):
    """How a job runs. Steps are a speaker's own, not the job's."""

    section_name = "train"

    seed: int = 0
    num_steps: int = 200
    # Places in one step of each replica: speakers, and utterances of each.
    speakers_per_step: int = 4
    utterances_per_speaker: int = 8
    # How many speakers have their Submodels, moments and step counts on the
    # accelerators at a time. The others wait until a speaker is done.
    # 0: all of them, from the start.
    resident_speakers: int = 0
    # Updates made in one call of the accelerator, where groups of the same
    # padded length follow one another. A space on several replicas takes one.
    steps_per_call: int = 1
    # The precision of the frozen base: "float32" or "bfloat16". Submodels,
    # moments and losses stay in float32.
    compute_dtype: str = "float32"
    # The dev loss is measured every so many steps of a speaker, who stops
    # after `patience` evaluations without a better one (0: never early).
    eval_every_steps: int = 50
    patience: int = 0
    checkpoint_every_seconds: int = 120
    # Computes the frozen activations below the lowest adapter only once.
    cache_activations: bool = False
    # Of the Submodel files: "float32", or "float16" at half the size.
    submodel_dtype: str = "float32"
    min_utterances: int = 1

    def __post_init__(self) -> None:
        self.check_range(
            0,
            "num_steps",
            "resident_speakers",
            "patience",
            "checkpoint_every_seconds",
            "min_utterances",
        )
        self.check_range(
            1,
            "speakers_per_step",
            "utterances_per_speaker",
            "steps_per_call",
            "eval_every_steps",
        )
        self.check_choice("compute_dtype", COMPUTE_DTYPES)
        self.check_choice("submodel_dtype", SUBMODEL_DTYPES)
        residents = self.resident_speakers
        if residents and residents < self.speakers_per_step:
            raise ValueError(
                "`train.resident_speakers` must be 0 or at least "
                "`train.speakers_per_step`, the speakers of one step. "
                f"Received: {residents} and {self.speakers_per_step}."
            )


@dataclasses.dataclass(frozen=True)
class Text(checked_values.Section):
    """How transcripts and hypotheses are compared."""

    section_name = "text"

    # "none", "basic", "english" or "torgo".
    normalizer: str = "english"
    # A speaker's success is a word error rate of at most this.
    target_word_error_rate: float = 0.15

    def __post_init__(self) -> None:
        self.check_choice("normalizer", TEXT_NORMALIZERS)
        self.check_range(0.0, "target_word_error_rate")


@dataclasses.dataclass(frozen=True)
class BaseTraining(checked_values.Section):
    """How tasks.train_base trains all the weights of a base model."""

    section_name = "base_training"

    seed: int = 0
    num_steps: int = 1000
    utterances_per_step: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    # The dev loss is measured, and a checkpoint written, every so many steps.
    eval_every_steps: int = 500

    def __post_init__(self) -> None:
        self.check_range(0, "num_steps", "warmup_steps")
        self.check_range(1, "utterances_per_step", "eval_every_steps")
        self.check_range(0.0, "learning_rate", "weight_decay", "clip_norm")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Base class of every experiment; its docstring is its description."""

    base: Whisper | ConformerCtc = Whisper()
    adapter: Adapter = Adapter()
    space: Space = Space()
    optimizer: Optimizer = Optimizer()
    data: Data = Data()
    augment: Augment = Augment()
    train: Train = Train()
    base_training: BaseTraining = BaseTraining()
    text: Text = Text()

    def __post_init__(self) -> None:
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


@dataclasses.dataclass(frozen=True)
class ContextShortening(checked_values.Section):
    """Audio-context fine-tuning, which makes a short-context Whisper once."""

    seed: int = 0
    num_steps: int = 160
    utterances_per_step: int = 8
    learning_rate: float = 3e-5
    warmup_steps: int = 10
    # Most silence, in seconds, that is drawn beyond the tail: in a minibatch a
    # shorter utterance is followed by more silence than the longest.
    max_extra_seconds: float = 2.0

    def __post_init__(self) -> None:
        self.check_range(1, "num_steps", "utterances_per_step")
        self.check_range(0.0, "learning_rate", "max_extra_seconds")
        self.check_range(0, "warmup_steps")
