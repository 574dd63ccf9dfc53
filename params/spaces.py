"""The dataclass of values of a space of speaker embeddings."""

import dataclasses

from lingvo_like import choices
from params import settings

INITIALIZERS = ("noise", "stack", "encoder", "space")


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
