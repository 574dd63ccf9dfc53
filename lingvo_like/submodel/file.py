"""One speaker's Submodel: named tensors and metadata, as a sealed file.

Loading fails closed: what is not entirely as it must be is refused.
"""

import dataclasses
import hashlib
import os
import urllib.parse
from collections import abc
from typing import Any

import numpy as np

from lingvo_like import files, tensor_file
from lingvo_like.submodel import (
    layout as submodel_layout,
    metadata as submodel_metadata,
)

SUFFIX = ".safetensors"
MAX_FILE_BYTES = 1 << 29
MAX_HEADER_BYTES = 1 << 22
_MAX_STEM = 180
_FORMAT = tensor_file.Format(
    key="submodel",
    title="a Submodel",
    version=submodel_metadata.FORMAT_VERSION,
    metadata_class=submodel_metadata.Metadata,
    max_file_bytes=MAX_FILE_BYTES,
    max_header_bytes=MAX_HEADER_BYTES,
)


class SubmodelError(ValueError):
    """A Submodel, or the file of one, is not as it must be."""


@dataclasses.dataclass(frozen=True, eq=False)
class Submodel:
    """A speaker's tensors by name, float32 and read-only, and their metadata.

    The tensors are in the layout's order. `create` and `load` check them.
    """

    tensors: dict[str, np.ndarray]
    metadata: submodel_metadata.Metadata

    @property
    def layout(self) -> submodel_layout.Layout:
        return self.metadata.layout

    @property
    def vector(self) -> np.ndarray:
        """The packed vector `[num_values]` float32."""
        return np.concatenate([each.ravel() for each in self.tensors.values()])


def create(
    layout: submodel_layout.Layout,
    tensors: abc.Mapping[str, Any],
    *,
    base_fingerprint: str,
    speaker: str,
    language: str = "",
    experiment: str = "",
    base_description: abc.Mapping[str, Any] | None = None,
    training: abc.Mapping[str, Any] | None = None,
    started_from: abc.Mapping[str, Any] | None = None,
    heard: str = "",
) -> Submodel:
    """Makes a Submodel, checked and with its checksum.

    The tensors are float32, by the layout's names, and are copied. The other
    arguments are fields of its `Metadata`.

    Raises:
        SubmodelError: a tensor is missing, not expected or not finite, or a
            value is not JSON.
    """
    plain = tensor_file.plain_json
    with tensor_file.errors_as(SubmodelError):
        metadata = submodel_metadata.Metadata(
            format_version=submodel_metadata.FORMAT_VERSION,
            base_fingerprint=base_fingerprint,
            experiment=experiment,
            speaker=speaker,
            language=language,
            parts=layout.to_json(),
            base_description=plain("base_description", base_description),
            training=plain("training", training),
            started_from=plain("started_from", started_from),
            heard=heard,
            dtype="float32",
            sha256="",
        )
        copies = {k: np.array(v) for k, v in tensors.items()}
        return Submodel(*tensor_file.sealed(metadata, copies))


def rounded(submodel: Submodel, dtype: str) -> Submodel:
    """The Submodel as a file of `dtype` holds it, still in float32 here.

    Raises:
        SubmodelError: a value is too large for the dtype.
    """
    with tensor_file.errors_as(SubmodelError):
        metadata = dataclasses.replace(submodel.metadata, dtype=dtype)
        tensors = {}
        for name, tensor in submodel.tensors.items():
            with np.errstate(over="ignore"):
                tensors[name] = tensor.astype(dtype).astype(np.float32)
            overflow = np.isfinite(tensor) & ~np.isfinite(tensors[name])
            if np.any(overflow):
                raise ValueError(
                    f"{name}: values must fit {dtype}, up to "
                    f"{np.finfo(dtype).max:.0f}. Received: "
                    f"{tensor[overflow][0]}. Save it as float32."
                )
        return Submodel(*tensor_file.sealed(metadata, tensors))


def fits(submodel: Submodel, dtype: str) -> bool:
    """Whether no value is too large for a file of `dtype`."""
    largest = np.finfo(dtype).max
    return all(
        np.all(np.abs(tensor) <= largest)
        for tensor in submodel.tensors.values()
    )


def to_bytes(submodel: Submodel) -> bytes:
    """The content of a file, with values stored as `metadata.dtype`."""
    dtype = submodel.metadata.dtype
    submodel = rounded(submodel, dtype)
    tensors = {k: v.astype(dtype) for k, v in submodel.tensors.items()}
    with tensor_file.errors_as(SubmodelError):
        return _FORMAT.to_bytes(submodel.metadata, tensors)


def save(
    path: str | os.PathLike[str], submodel: Submodel, dtype: str = "float32"
) -> Submodel:
    """Writes a Submodel's file, local or `gs://`, whole or not at all.

    Returns:
        The Submodel that `load` will give: rounded, with its own checksum.

    Raises:
        SubmodelError: it is not a valid Submodel, or not one in that dtype.
        OSError: it cannot be written; an old file stays as it was.
    """
    with tensor_file.errors_as(SubmodelError, f"{os.fspath(path)}: "):
        stored = rounded(submodel, dtype)
        data = to_bytes(stored)
    files.write_atomically(path, data)
    return stored


def load(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    base_fingerprint: str | None = None,
    layout: submodel_layout.Layout | None = None,
) -> Submodel:
    """Reads a Submodel.

    Args:
        source: a path, local or `gs://`, or a file's bytes.
        base_fingerprint, layout: those that it must have, if given.

    Raises:
        SubmodelError: the file cannot be read, is cut off, altered or of
            another format; a tensor is missing, not expected, of another shape
            or dtype, or not finite; the base or the layout is another one.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "Submodel", bytes(source)
    else:
        name = os.fspath(source)
        try:
            data = files.read(source, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise SubmodelError(f"cannot load a Submodel: {error}") from None
    with tensor_file.errors_as(SubmodelError, f"{name}: "):
        metadata, header = _FORMAT.parse(data, base_fingerprint)
        if layout is not None:
            submodel_layout.check_same(layout, metadata.layout)
        tensors = tensor_file.read_tensors(
            data, header, metadata.tensor_shapes, metadata.dtype
        )
        tensor_file.check_seal(metadata, tensors)
        return Submodel(tensors, metadata)


def file_name(speaker: str) -> str:
    """A safe file name for a speaker id; different ids have different names.

    The id is percent-encoded, and one that is too long for that ends in a hash.
    The id itself is in the file's metadata. On file systems that ignore case,
    ids that differ only in case collide.

    Raises:
        SubmodelError: the id is empty or not valid Unicode.
    """
    with tensor_file.errors_as(SubmodelError):
        submodel_metadata.check_speaker(speaker)
    stem = urllib.parse.quote(speaker, safe="").replace("~", "%7E")
    # A leading dot would hide the file, a dash would look like a flag.
    if stem[0] in ".-":
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    if len(stem) > _MAX_STEM:
        # "%-" is in no percent-encoded name.
        digest = hashlib.sha256(speaker.encode()).hexdigest()
        stem = f"{stem[: _MAX_STEM // 2]}%-{digest}"
    return stem + SUFFIX
