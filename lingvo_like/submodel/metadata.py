"""What a Submodel is for and where it comes from, as checked JSON."""

import dataclasses
import functools

from lingvo_like import hyperparams, json_values, tensor_file
from lingvo_like.submodel import layout as submodel_layout

FORMAT_VERSION = 1
# How safetensors calls the dtypes that values may be stored in.
DTYPES = {"float32": "F32", "float16": "F16"}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a Submodel is for, where it comes from, and its checksum.

    `base_description` is the base model's frontend and tokenizer; `training`
    sums up how it was trained; `dtype` is how its values are stored.
    """

    format_version: int
    base_fingerprint: str
    experiment: str
    speaker: str
    model_dim: int
    bottleneck_dim: int
    blocks: tuple[int, ...]
    residual_weight: float
    base_description: dict
    training: dict
    dtype: str
    sha256: str

    @functools.cached_property
    def layout(self):
        return submodel_layout.Layout(
            self.model_dim, self.bottleneck_dim, self.blocks
        )


def to_json(metadata):
    """Metadata as text, always the same for the same metadata."""
    return json_values.canonical_json(hyperparams.to_dict(metadata))


def from_json(text):
    """The inverse of `to_json`.

    Raises:
        SubmodelError: it is not JSON, of another format version, or a field
            is missing, not known, of another type or out of range.
    """
    try:
        fields = json_values.strict_json(text)
        if not isinstance(fields, dict):
            raise ValueError("must be a JSON object")
        version = fields.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(
                f"the format version must be {FORMAT_VERSION}. "
                f"Received: {version!r}."
            )
        metadata = hyperparams.from_dict(Metadata, fields)
    except ValueError as error:
        raise submodel_layout.SubmodelError(f"metadata: {error}") from None
    check(metadata)
    return metadata


def plain_json(name, value):
    """A dict as JSON gives it back: string keys, lists for tuples.

    Raises:
        SubmodelError: it holds what JSON does not, NaN for instance.
    """
    try:
        return json_values.plain(value)
    except (TypeError, ValueError) as error:
        raise submodel_layout.SubmodelError(
            f"`{name}` must be JSON: {error}"
        ) from None


def check(metadata):
    """Raises a SubmodelError that names the field which is not right."""
    try:
        hyperparams.to_dict(metadata)
        _ = metadata.layout
    except ValueError as error:
        raise submodel_layout.SubmodelError(f"metadata: {error}") from None
    check_speaker(metadata.speaker)
    if not metadata.base_fingerprint:
        raise submodel_layout.SubmodelError(
            "`base_fingerprint` must not be empty"
        )
    check_dtype(metadata.dtype)


def check_dtype(dtype):
    if dtype not in DTYPES:
        raise submodel_layout.SubmodelError(
            f"`dtype` must be one of {sorted(DTYPES)}. Received: {dtype!r}."
        )


def check_speaker(speaker):
    """Raises a SubmodelError unless it is a string that UTF-8 can hold."""
    if not isinstance(speaker, str) or not speaker:
        raise submodel_layout.SubmodelError(
            f"`speaker` must be a string, not empty. Received: {speaker!r}."
        )
    try:
        speaker.encode()
    except UnicodeEncodeError:
        raise submodel_layout.SubmodelError(
            f"`speaker` must be valid Unicode. Received: {speaker!r}."
        ) from None


def checksum(metadata, tensors):
    """SHA-256, in hex, of all metadata but itself and of all tensors.

    Of metadata that `check` has passed.
    """
    fields = hyperparams.shallow(metadata)
    del fields["sha256"]
    names = metadata.layout.shapes
    return tensor_file.sha256(fields, {name: tensors[name] for name in names})
