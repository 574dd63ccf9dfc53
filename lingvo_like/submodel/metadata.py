"""The metadata of a Submodel's file."""

import dataclasses
import functools

from lingvo_like import languages, tensor_file
from lingvo_like.submodel import heard, layout as submodel_layout

FORMAT_VERSION = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonMetadata:
    """The metadata that files of Submodels and of spaces have in common.

    Attributes:
        experiment: registered name of the experiment that trained it, or "".
        parts: the layout, from `Layout.to_json`.
        base_description: the base model's frontend and tokenizer.
        training: summary of the training.
        sha256: checksum of all other fields and all tensors.

    Raises:
        ValueError: a field has a value that it cannot have.
    """

    format_version: int
    base_fingerprint: str
    experiment: str
    parts: tuple[dict, ...]
    base_description: dict
    training: dict
    sha256: str

    def __post_init__(self) -> None:
        _ = self.layout
        if not self.base_fingerprint:
            raise ValueError("`base_fingerprint` must not be empty")

    @functools.cached_property
    def layout(self) -> submodel_layout.Layout:
        return submodel_layout.from_json(self.parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata(CommonMetadata):
    """The metadata of one Submodel.

    Attributes:
        speaker: id of the speaker, not empty.
        language: code of the language that the speaker spoke in training, such
            as "en"; "" where there were several, or the base has none.
        dtype: one of `tensor_file.DTYPES`, in which values are stored.
        started_from: the Submodel that the training began at: its `sha256`,
            its `speaker` and the kind of its `source`; empty for the base
            model.
        heard: the recordings that it and those before it learned from, as
            `heard.pack` writes them.
    """

    speaker: str
    language: str
    dtype: str
    started_from: dict
    heard: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_speaker(self.speaker)
        heard.unpack(self.heard)
        if languages.folded(self.language) != self.language:
            raise ValueError(
                "`language` must be a code in lower case, such as 'en', or ''. "
                f"Received: {self.language!r}."
            )
        if self.dtype not in tensor_file.DTYPES:
            raise ValueError(
                f"`dtype` must be one of {sorted(tensor_file.DTYPES)}. "
                f"Received: {self.dtype!r}."
            )

    @property
    def tensor_shapes(self) -> tensor_file.Shapes:
        return self.layout.shapes


def check_speaker(speaker: str) -> None:
    """Raises a ValueError unless it is a string that UTF-8 can hold."""
    if not isinstance(speaker, str) or not speaker:
        raise ValueError(
            f"`speaker` must be a string, not empty. Received: {speaker!r}."
        )
    try:
        speaker.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"`speaker` must be valid Unicode. Received: {speaker!r}."
        ) from None
