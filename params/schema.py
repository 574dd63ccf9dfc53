"""The base class of experiments: the sections that each of them fills in.

They hold values only: tasks build layers and pipelines from them. A field that
is named like a layer's argument is that argument. Each class refuses values
that no run could use, also after an override, which builds it anew. Checks
that need the base model itself belong to `tasks.asr.base_loading`.
"""

import dataclasses

from params import bases, jobs, kinds, settings, spaces

# Written out here because the module that implements them loads TensorFlow; a
# test compares both.
TEXT_NORMALIZERS = (
    "auto",
    "none",
    "basic",
    "characters",
    "english",
    "torgo",
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
    space: spaces.Space = spaces.Space()
    optimizer: jobs.Optimizer = jobs.Optimizer()
    data: jobs.Data = jobs.Data()
    augment: jobs.Augment = jobs.Augment()
    train: jobs.Train = jobs.Train()
    cohort: jobs.Cohort = jobs.Cohort()
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
