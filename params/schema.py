"""What a run is, as values: the dataclasses that every experiment fills in.

Values only: tasks build layers and pipelines from them. Fields named like a
layer's argument mean that argument.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Whisper:
    """A pretrained Whisper, read from `--base`."""

    # "full" is the 30 s of audio context that Whisper was trained on; "short"
    # pads to the utterance and needs a base made by tasks.shorten_context.
    audio_context: str = "full"
    language: str = "en"
    max_tokens: int = 64


@dataclasses.dataclass(frozen=True)
class ConformerCtc:
    """A Conformer encoder with a CTC head (Gulati et al. 2020)."""

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
    # Padded lengths, in seconds: one compiled program each.
    buckets_seconds: tuple[float, ...] = (4.0, 8.0, 12.0, 16.0, 24.0, 35.0)
    # "characters", or the path of a SentencePiece model.
    vocabulary: str = "characters"
    max_tokens: int = 400


@dataclasses.dataclass(frozen=True)
class Adapter:
    """The residual adapters of every Submodel of the job."""

    bottleneck_dim: int = 32
    # Encoder blocks that an adapter follows; empty means every block.
    blocks: tuple[int, ...] = ()
    residual_weight: float = 1.0
    dropout_rate: float = 0.1
    # Every speaker starts from the same down projections, so that Submodels
    # can be added up: what a space is made of (`space.initializer=stack`).
    shared_start: bool = False


@dataclasses.dataclass(frozen=True)
class Space:
    """The space of learned speaker embeddings, or none.

    With one, `optimizer` is that of the basis, which all speakers share.
    """

    # 0: a slot for each speaker. Else the number of elements of the basis.
    embedding_dim: int = 0
    # "none", "softmax" or "unit": what an embedding goes through to mix.
    normalization: str = "none"
    # "noise"; "encoder", from the speaker encoder; or what --space_from names:
    # "stack", the Submodels of a run of slots, or "space", a trained space,
    # which is fitted again, with newcomers where its encoder puts them, or at
    # its mean.
    initializer: str = "noise"
    # Standard deviation of the first embeddings, times 1/sqrt(embedding_dim).
    initial_scale: float = 1.0
    # Of the embeddings; the rest of their schedule is that of `optimizer`.
    learning_rate: float = 0.02
    # Pulls embeddings to zero: the base model, where they are not normalised.
    weight_decay: float = 0.01
    # Elements left out of a speaker's mix in a step.
    element_dropout_rate: float = 0.0
    # How often the mean embedding stands for a speaker's own in a step.
    speaker_dropout_rate: float = 0.0
    # A network that predicts an embedding from a few utterances.
    speaker_encoder: bool = False
    encoder_dim: int = 64
    encoder_learning_rate: float = 1e-3
    # How often its prediction stands for a speaker's own in a step, besides
    # learning to be near it.
    prediction_rate: float = 0.0


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW with a schedule; for Submodels every value is per slot."""

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


@dataclasses.dataclass(frozen=True)
class Data:
    """How utterances are prepared before anything learns from them."""

    # Leaves out the silence before and after every utterance, in training,
    # evaluation and enrolment. Needs the extra `io`.
    trim_silence: bool = False


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation, drawn from streams keyed by (speaker, step)."""

    speed_factors: tuple[float, ...] = (1.0,)
    num_freq_masks: int = 0
    freq_mask_max_bins: int = 15
    num_time_masks: int = 0
    time_mask_max_frames: int = 25


@dataclasses.dataclass(frozen=True)
class Train:
    """How a job runs; steps are a speaker's own, not the job's."""

    seed: int = 0
    num_steps: int = 200
    # Places in one step of each replica: speakers, and utterances of each.
    speakers_per_step: int = 4
    utterances_per_speaker: int = 8
    # Speakers of the job whose Submodels, moments and counts are on the
    # accelerators at a time; the others wait, and come where somebody is done.
    # 0: everybody, from the start.
    resident_speakers: int = 0
    # Updates that are one call of the accelerator, where groups of one padded
    # length follow one another. A space on several replicas takes one a call.
    steps_per_call: int = 1
    # What the frozen base computes in: "float32", or "bfloat16", with
    # Submodels, moments and losses in float32 all the same.
    compute_dtype: str = "float32"
    # Dev loss every so many steps of a speaker; a speaker stops after
    # `patience` evaluations without a better one (0: never early).
    eval_every_steps: int = 50
    patience: int = 0
    checkpoint_every_seconds: int = 120
    # Keep the frozen activations below the lowest adapter, computed once.
    cache_activations: bool = False
    # Of the Submodel files: "float32", or "float16" at half the size.
    submodel_dtype: str = "float32"
    min_utterances: int = 1


@dataclasses.dataclass(frozen=True)
class Text:
    """How transcripts and hypotheses are compared."""

    # "none", "basic", "english" or "torgo".
    normalizer: str = "english"
    # A speaker's success is a word error rate of at most this.
    target_word_error_rate: float = 0.15


@dataclasses.dataclass(frozen=True)
class BaseTraining:
    """How tasks.train_base trains all the weights of a base model."""

    seed: int = 0
    num_steps: int = 1000
    utterances_per_step: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    # Dev loss, and a checkpoint, every so many steps.
    eval_every_steps: int = 500


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Base class of every experiment; its docstring is its description."""

    base: Whisper | ConformerCtc = dataclasses.field(default_factory=Whisper)
    adapter: Adapter = dataclasses.field(default_factory=Adapter)
    space: Space = dataclasses.field(default_factory=Space)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    data: Data = dataclasses.field(default_factory=Data)
    augment: Augment = dataclasses.field(default_factory=Augment)
    train: Train = dataclasses.field(default_factory=Train)
    base_training: BaseTraining = dataclasses.field(
        default_factory=BaseTraining
    )
    text: Text = dataclasses.field(default_factory=Text)


@dataclasses.dataclass(frozen=True)
class ContextShortening:
    """Audio-context fine-tuning: makes a short-context Whisper, once."""

    seed: int = 0
    num_steps: int = 160
    utterances_per_step: int = 8
    learning_rate: float = 3e-5
    warmup_steps: int = 10
    # Silence beyond the tail, drawn up to this: a minibatch's shorter
    # utterances are followed by more of it than its longest.
    max_extra_seconds: float = 2.0
