"""A speaker-embedding space as one file.

Safetensors with one metadata entry, the JSON of `space_metadata.Metadata`.
Loading fails closed, as a Submodel's does.
"""

import os

import safetensors.numpy

from lingvo_like import files, hyperparams, json_values, tensor_file
from lingvo_like.space import metadata as space_metadata
from lingvo_like.space import space as space_lib

MAX_FILE_BYTES = 1 << 32
MAX_HEADER_BYTES = 1 << 26
_HEADER_KEY = "space"

# The whole vocabulary of spaces under one name.
Space = space_lib.Space
SpaceError = space_lib.SpaceError
create = space_lib.create


def save(path, space):
    """Writes a space's file, whole or not at all.

    Args:
        path: string or PathLike, local or `gs://`.
        space: `Space`.

    Raises:
        SpaceError: it is too large.
        OSError: it cannot be written; an old file stays as it was.
    """
    text = json_values.canonical_json(hyperparams.to_dict(space.metadata))
    data = safetensors.numpy.save(space.tensors, {_HEADER_KEY: text})
    try:
        tensor_file.check_lengths(data, MAX_FILE_BYTES, MAX_HEADER_BYTES)
    except ValueError as error:
        raise space_lib.SpaceError(f"{os.fspath(path)}: {error}") from None
    files.write_atomically(path, data)


def load(path, base_fingerprint=None):
    """Reads a space; what is not entirely as it should be is refused.

    Args:
        path: string or PathLike, local or `gs://`.
        base_fingerprint: string; the base model that it has to be for.

    Raises:
        SpaceError: the file cannot be read, is cut, altered or of another
            format; a tensor is missing, not expected, of another shape or
            dtype, or not finite; or it was made for another base model.
    """
    try:
        data = files.read(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise space_lib.SpaceError(f"cannot load a space: {error}") from None
    try:
        return _parse(data, base_fingerprint)
    except ValueError as error:
        raise space_lib.SpaceError(f"{os.fspath(path)}: {error}") from None


def _parse(data, base_fingerprint):
    header = tensor_file.header(data, MAX_FILE_BYTES, MAX_HEADER_BYTES)
    entry = header.pop("__metadata__", None)
    if entry is None or set(entry) != {_HEADER_KEY}:
        raise ValueError(
            "not a space: the header's __metadata__ must hold "
            f"{_HEADER_KEY!r} alone. Received: {sorted(entry or {})}."
        )
    if not isinstance(entry[_HEADER_KEY], str):
        raise ValueError("the metadata must be a string")
    fields = json_values.strict_json(entry[_HEADER_KEY])
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if version != space_metadata.FORMAT_VERSION:
        raise ValueError(
            f"the format version must be {space_metadata.FORMAT_VERSION}. "
            f"Received: {version!r}."
        )
    metadata = hyperparams.from_dict(space_metadata.Metadata, fields)
    if base_fingerprint not in (None, metadata.base_fingerprint):
        raise ValueError(
            "made for another base model: the fingerprint must be "
            f"{base_fingerprint}. Received: {metadata.base_fingerprint}."
        )
    # Before the tensors are copied: the header says what they are.
    space_lib.check_names(metadata, header)
    space = space_lib.sealed(metadata, tensor_file.tensors(data))
    if space.metadata.sha256 != metadata.sha256:
        raise ValueError(
            f"altered: the SHA-256 must be {metadata.sha256}. "
            f"Received: {space.metadata.sha256}."
        )
    return space
