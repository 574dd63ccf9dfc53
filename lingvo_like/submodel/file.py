"""One speaker's Submodel: named tensors, one packed vector, a file.

A file is safetensors with one metadata entry, the JSON of `Metadata`. Its
SHA-256 covers every metadata field and every tensor, so nothing in a file can
change unnoticed; the same Submodel gives the same bytes.
"""

import dataclasses
import hashlib
import os
import urllib.parse

import numpy as np
import safetensors.numpy

from lingvo_like import files, tensor_file
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel import metadata as submodel_metadata

SUFFIX = ".safetensors"
MAX_FILE_BYTES = 1 << 29
MAX_HEADER_BYTES = 1 << 22
_HEADER_KEY = "submodel"
_MAX_STEM = 180

# The whole vocabulary of Submodels under one name.
Layout = submodel_layout.Layout
Metadata = submodel_metadata.Metadata
SubmodelError = submodel_layout.SubmodelError
tensor_name = submodel_layout.tensor_name


@dataclasses.dataclass(frozen=True, eq=False)
class Submodel:
    """Tensors by name, float32 and read-only, and their metadata."""

    tensors: dict[str, np.ndarray]
    metadata: Metadata

    @property
    def layout(self):
        return self.metadata.layout

    @property
    def vector(self):
        """The packed vector `[num_values]` float32."""
        # In the layout's order, and checked, since the Submodel was made.
        return np.concatenate([each.ravel() for each in self.tensors.values()])


def create(
    layout,
    tensors,
    *,
    base_fingerprint,
    speaker,
    experiment="",
    residual_weight=1.0,
    base_description=None,
    training=None,
):
    """Makes a Submodel, checked and with its checksum.

    Args:
        layout: `Layout`.
        tensors: dict of name to float32 array, as the layout says.
        base_fingerprint: string, of the base model that it specialises.
        speaker: string, not empty.
        experiment: string, the registered name.
        residual_weight: float, of its adapters.
        base_description: JSON-able dict, frontend and tokenizer of the base.
        training: JSON-able dict, a summary.

    Raises:
        SubmodelError: anything is missing, too much, not finite or not JSON.
    """
    plain = submodel_metadata.plain_json
    metadata = Metadata(
        format_version=submodel_metadata.FORMAT_VERSION,
        base_fingerprint=base_fingerprint,
        experiment=experiment,
        speaker=speaker,
        model_dim=layout.model_dim,
        bottleneck_dim=layout.bottleneck_dim,
        blocks=layout.blocks,
        residual_weight=float(residual_weight),
        base_description=plain("base_description", base_description or {}),
        training=plain("training", training or {}),
        dtype="float32",
        sha256="",
    )
    return _sealed(metadata, {k: np.array(v) for k, v in tensors.items()})


def identity(layout, **metadata):
    """The Submodel of zeros, which is the base; arguments as `create`'s."""
    zeros = np.zeros(layout.num_values, np.float32)
    return create(layout, layout.unpack(zeros), **metadata)


def rounded(submodel, dtype):
    """The Submodel as a file of `dtype` holds it, still in float32 here.

    Raises:
        SubmodelError: a value is too large for the dtype.
    """
    submodel_metadata.check_dtype(dtype)
    tensors = {}
    for name, tensor in submodel.tensors.items():
        with np.errstate(over="ignore"):
            tensors[name] = tensor.astype(dtype).astype(np.float32)
        overflow = np.isfinite(tensor) & ~np.isfinite(tensors[name])
        if np.any(overflow):
            raise SubmodelError(
                f"{name}: values must fit {dtype}, up to "
                f"{np.finfo(dtype).max:.0f}. Received: "
                f"{tensor[overflow][0]}. Save it as float32."
            )
    metadata = dataclasses.replace(submodel.metadata, dtype=dtype)
    return _sealed(metadata, tensors)


def to_bytes(submodel):
    """A file's content, stored as `metadata.dtype` says; see `save`."""
    submodel = rounded(submodel, submodel.metadata.dtype)
    data = safetensors.numpy.save(
        {
            name: tensor.astype(submodel.metadata.dtype)
            for name, tensor in submodel.tensors.items()
        },
        # One entry: the library writes several in no fixed order.
        {_HEADER_KEY: submodel_metadata.to_json(submodel.metadata)},
    )
    _check_lengths(data)
    return data


def save(path, submodel, dtype="float32"):
    """Writes a Submodel's file, whole or not at all.

    Args:
        path: string or PathLike, local or `gs://`.
        submodel: `Submodel`.
        dtype: "float32" or "float16".

    Returns:
        The `Submodel` that `load` will give: rounded, with its own checksum.

    Raises:
        SubmodelError: it is not a valid Submodel, or not one in that dtype.
        OSError: it cannot be written; an old file stays as it was.
    """
    try:
        stored = rounded(submodel, dtype)
        data = to_bytes(stored)
    except SubmodelError as error:
        raise SubmodelError(f"{os.fspath(path)}: {error}") from None
    files.write_atomically(path, data)
    return stored


def load(source, base_fingerprint=None, layout=None, is_sealed=False):
    """Reads a Submodel; what is not entirely as it should be is refused.

    Args:
        source: a path, local or `gs://`, or a file's bytes.
        base_fingerprint: string; the base model that it has to be for.
        layout: `Layout` that it has to have.
        is_sealed: bool; the bytes are known to be as they were written, by a
            store's own SHA-256 of the file: the one within is not computed.

    Raises:
        SubmodelError: the file cannot be read, is cut, altered or of another
            format; a tensor is missing, not expected, of another shape or
            dtype, or not finite; the base or the layout is another one.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "Submodel", bytes(source)
    else:
        name = os.fspath(source)
        try:
            data = files.read(source, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise SubmodelError(f"cannot load a Submodel: {error}") from None
    try:
        return _parse(data, base_fingerprint, layout, is_sealed)
    except ValueError as error:
        raise SubmodelError(f"{name}: {error}") from None


def file_name(speaker):
    """A safe file name for any speaker id; different ids, different names.

    Percent-encoded, so that it reads back; an id too long for that ends in a
    hash. The id itself is in the file's metadata. On file systems that ignore
    case, ids that differ in case alone collide.

    Raises:
        SubmodelError: the id is empty or not valid Unicode.
    """
    submodel_metadata.check_speaker(speaker)
    stem = urllib.parse.quote(speaker, safe="").replace("~", "%7E")
    # Neither hidden, nor taken for a flag, nor a way out of the folder.
    if stem[0] in ".-":
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    if len(stem) > _MAX_STEM:
        # "%-" is in no percent-encoded name.
        digest = hashlib.sha256(speaker.encode()).hexdigest()
        stem = f"{stem[: _MAX_STEM // 2]}%-{digest}"
    return stem + SUFFIX


def _sealed(metadata, tensors):
    """A checked Submodel with the checksum of its content."""
    submodel_metadata.check(metadata)
    tensors = _own(metadata.layout, tensors)
    sha256 = submodel_metadata.checksum(metadata, tensors)
    return Submodel(tensors, dataclasses.replace(metadata, sha256=sha256))


def _own(layout, tensors):
    """Checked tensors in the layout's order; from now on read-only."""
    submodel_layout.check_tensors(layout, tensors)
    tensors = {name: tensors[name] for name in layout.shapes}
    for tensor in tensors.values():
        tensor.setflags(write=False)
    return tensors


def _parse(data, base_fingerprint, layout, is_sealed):
    header = tensor_file.header(data, MAX_FILE_BYTES, MAX_HEADER_BYTES)
    metadata = _metadata(header.pop("__metadata__", None))
    _check_expected(metadata, base_fingerprint, layout)
    submodel_layout.check_names(metadata.layout, header)
    for name, shape in metadata.layout.shapes.items():
        entry = header[name]
        received = [entry.get("dtype"), entry.get("shape")]
        expected = [submodel_metadata.DTYPES[metadata.dtype], list(shape)]
        if received != expected:
            raise SubmodelError(
                f"{name}: must be {expected[0]} {expected[1]}. "
                f"Received: {received[0]} {received[1]}."
            )
    tensors = tensor_file.tensors(data)
    tensors = _own(
        metadata.layout,
        {k: v.astype(np.float32, copy=False) for k, v in tensors.items()},
    )
    if not is_sealed:
        sha256 = submodel_metadata.checksum(metadata, tensors)
        if sha256 != metadata.sha256:
            raise SubmodelError(
                f"altered: the SHA-256 must be {metadata.sha256}. "
                f"Received: {sha256}."
            )
    return Submodel(tensors, metadata)


def _check_lengths(data):
    try:
        tensor_file.check_lengths(data, MAX_FILE_BYTES, MAX_HEADER_BYTES)
    except ValueError as error:
        raise SubmodelError(str(error)) from None


def _metadata(entry):
    if entry is None or set(entry) != {_HEADER_KEY}:
        raise SubmodelError(
            "not a Submodel: the header's __metadata__ must hold "
            f"{_HEADER_KEY!r} alone. Received: {sorted(entry or {})}."
        )
    if not isinstance(entry[_HEADER_KEY], str):
        raise SubmodelError("the metadata must be a string")
    return submodel_metadata.from_json(entry[_HEADER_KEY])


def _check_expected(metadata, base_fingerprint, layout):
    if base_fingerprint not in (None, metadata.base_fingerprint):
        raise SubmodelError(
            "made for another base model: the fingerprint must be "
            f"{base_fingerprint}. Received: {metadata.base_fingerprint}."
        )
    for name in ("model_dim", "bottleneck_dim", "blocks"):
        received = getattr(metadata, name)
        expected = getattr(layout, name, received)
        if expected != received:
            raise SubmodelError(
                f"`{name}` must be {expected}. Received: {received}."
            )
