"""The dataclasses of values of base models, and of how they are made."""

import dataclasses
import itertools

from lingvo_like import choices
from params import settings


@dataclasses.dataclass(frozen=True)
class Whisper(settings.Section):
    """A pretrained Whisper, read from --base."""

    section_name = "base"

    audio_context: str = settings.value(
        "full",
        "full is the 30 s of audio that Whisper was trained on. short pads to "
        "the utterance, and needs a base made by tasks.shorten_context.",
        choices=choices.AUDIO_CONTEXTS,
    )
    language: str = settings.value(
        "",
        "Language of the utterances whose manifest lines name none, as "
        "Whisper's code for it. An English-only Whisper takes none, or en.",
    )


@dataclasses.dataclass(frozen=True)
class ConformerCtc(settings.Section):
    """A Conformer encoder with a CTC head (Gulati et al. 2020)."""

    section_name = "base"

    model_dim: int = settings.value(144, "Width of the encoder.", at_least=1)
    num_blocks: int = settings.value(
        16, "Blocks of the encoder, one on top of the other.", at_least=1
    )
    num_heads: int = settings.value(4, "Heads of attention.", at_least=1)
    kernel_size: int = settings.value(
        32, "Frames that a convolution spans.", at_least=1
    )
    feed_forward_expansion: int = settings.value(
        4,
        "Width of the feed-forward layers, as a multiple of model_dim.",
        at_least=1,
    )
    dropout_rate: float = settings.value(
        0.1,
        "Rate of dropout while the base model trains.",
        at_least=0.0,
        below=1.0,
    )
    sample_rate: int = settings.value(
        16000, "Hertz; recordings are resampled to it.", at_least=1
    )
    num_bins: int = settings.value(80, "Mel bins of a frame.", at_least=1)
    frame_length_ms: float = settings.value(
        25.0, "Milliseconds of audio in a frame.", above=0
    )
    frame_step_ms: float = settings.value(
        10.0, "Milliseconds from one frame to the next.", above=0
    )
    lower_edge_hertz: float = settings.value(
        80.0, "Lowest frequency of the mel bins.", at_least=0.0
    )
    upper_edge_hertz: float = settings.value(
        7600.0, "Highest frequency of the mel bins.", above=0
    )
    buckets_seconds: tuple[float, ...] = settings.value(
        (4.0, 8.0, 12.0, 16.0, 24.0, 35.0),
        "Lengths that utterances are padded to, ascending. Each is compiled "
        "once, and the last one is the longest utterance.",
        above=0,
    )
    vocabulary: str = settings.value(
        "characters", "characters, or the path of a SentencePiece model."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        buckets = self.buckets_seconds
        if not buckets or any(a >= b for a, b in itertools.pairwise(buckets)):
            raise ValueError(
                "`base.buckets_seconds` must be at least one length, "
                f"ascending. Received: {buckets}."
            )
        if self.model_dim % self.num_heads or self.model_dim % 2:
            raise ValueError(
                "`base.model_dim` must be even and a multiple of "
                f"`base.num_heads`. Received: {self.model_dim} and "
                f"{self.num_heads}."
            )
        lower, upper = self.lower_edge_hertz, self.upper_edge_hertz
        if not lower < upper <= self.sample_rate / 2:
            raise ValueError(
                "`base.upper_edge_hertz` must be above "
                "`base.lower_edge_hertz` and at most half of "
                f"`base.sample_rate`. Received: {upper}, {lower} and "
                f"{self.sample_rate}."
            )


@dataclasses.dataclass(frozen=True)
class BaseTraining(settings.Section):
    """How tasks.train_base trains all the weights of a base model."""

    section_name = "base_training"

    seed: int = settings.value(0, "Seed of all random draws.")
    num_steps: int = settings.value(1000, "Updates of the base.", at_least=0)
    utterances_per_step: int = settings.value(
        16, "Utterances of an update.", at_least=1
    )
    learning_rate: float = settings.value(
        1e-3, "The highest rate, after the warmup.", at_least=0.0
    )
    warmup_steps: int = settings.value(
        50, "Steps in which the rate rises from zero.", at_least=0
    )
    weight_decay: float = settings.value(
        1e-3, "Pulls weights towards zero.", at_least=0.0
    )
    clip_norm: float = settings.value(
        1.0, "Largest gradient norm; 0 turns clipping off.", at_least=0.0
    )
    eval_every_steps: int = settings.value(
        500,
        "Steps from one measurement of the dev loss, and checkpoint, to the "
        "next.",
        at_least=1,
    )


@dataclasses.dataclass(frozen=True)
class ContextShortening(settings.Section):
    """Audio-context fine-tuning, which makes a short-context Whisper once."""

    seed: int = settings.value(0, "Seed of all random draws.")
    num_steps: int = settings.value(160, "Updates of the encoder.", at_least=1)
    utterances_per_step: int = settings.value(
        8, "Utterances of an update.", at_least=1
    )
    max_utterances: int = settings.value(
        0,
        "The most utterances to learn from, equally many of each speaker; 0 "
        "for all of them.",
        at_least=0,
    )
    learning_rate: float = settings.value(
        3e-5, "The highest rate, after the warmup.", at_least=0.0
    )
    warmup_steps: int = settings.value(
        10, "Steps in which the rate rises from zero.", at_least=0
    )
    max_extra_seconds: float = settings.value(
        2.0,
        "The most silence, in seconds, that is drawn beyond the tail: in a "
        "minibatch a shorter utterance is followed by more silence than the "
        "longest.",
        at_least=0.0,
    )
