"""Sealed tensor files: safetensors with checked metadata and a checksum.

A file has one metadata entry, the JSON of a dataclass. Its SHA-256 covers every
other metadata field and every tensor. The rest of a file says where the tensors
lie, and has one spelling: no other keys, order, spaces or padding. So no byte
of a file can change unnoticed. The library reads tensors; what it does not
check is checked here.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections import abc
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from lingvo_like import hyperparams, json_values

Shapes = abc.Mapping[str, tuple[int, ...]]
# The names that safetensors has for the dtypes in which values are stored.
DTYPES = {"float32": "F32", "float16": "F16"}
# What a header has of each tensor, in this order.
_ENTRY = ["dtype", "shape", "data_offsets"]


class Metadata(Protocol):
    """The metadata that every file has."""

    @property
    def format_version(self) -> int: ...

    @property
    def base_fingerprint(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def tensor_shapes(self) -> Shapes:
        """The shape of each tensor, in the order of the checksum."""
        ...


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of tensor file.

    Attributes:
        key: the name of the file's only metadata entry.
        title: the name that messages give to the content, such as "a space".
        max_file_bytes: a longer file is refused unread.
        max_header_bytes: a longer header is refused before it is parsed.
    """

    key: str
    title: str
    version: int
    metadata_class: type
    max_file_bytes: int
    max_header_bytes: int

    def to_bytes(
        self, metadata: Metadata, tensors: abc.Mapping[str, np.ndarray]
    ) -> bytes:
        """The content of a file; the same content gives the same bytes.

        Raises:
            ValueError: it would be too large to read.
        """
        text = json_values.canonical_json(hyperparams.to_dict(metadata))
        # One entry, since the library writes several in no fixed order.
        data = safetensors.numpy.save(dict(tensors), {self.key: text})
        self._check_lengths(data)
        return data

    def parse(
        self, data: bytes, base_fingerprint: str | None = None
    ) -> tuple[Any, dict[str, dict]]:
        """Reads a file's metadata and its header of tensors.

        Raises:
            ValueError: the file is cut off, too long or of another format; a
                metadata field is missing, unknown or wrong; or the content is
                for another base model.
        """
        header = self._header(data)
        first = next(iter(header), None)
        metadata = self._metadata(header.pop("__metadata__", None))
        if first != "__metadata__":
            raise ValueError("altered: the header has another order")
        if base_fingerprint not in (None, metadata.base_fingerprint):
            raise ValueError(
                "made for another base model: the fingerprint must be "
                f"{base_fingerprint}. Received: {metadata.base_fingerprint}."
            )
        for name, entry in header.items():
            if list(entry) != _ENTRY:
                raise ValueError(
                    f"{name}: the header must have {_ENTRY} of a tensor. "
                    f"Received: {list(entry)}."
                )
        return metadata, header

    def _check_lengths(self, data: bytes) -> None:
        if len(data) > self.max_file_bytes:
            raise ValueError(
                f"must have at most {self.max_file_bytes} bytes. "
                f"Received: {len(data)}."
            )
        header_bytes = int.from_bytes(data[:8], "little")
        limit = min(self.max_header_bytes, len(data) - 8)
        if header_bytes > limit:
            raise ValueError(
                "cut off or not a safetensors file: the header must have at "
                f"most {limit} bytes. Received: {header_bytes}."
            )

    def _header(self, data: bytes) -> dict[str, dict]:
        if len(data) < 8:
            raise ValueError(
                "empty or cut off: a safetensors file has at least 8 bytes. "
                f"Received: {len(data)}."
            )
        self._check_lengths(data)
        end = 8 + int.from_bytes(data[:8], "little")
        try:
            header = json_values.strict_json(data[8:end].decode())
        except ValueError as error:
            raise ValueError(f"the header is not JSON: {error}") from None
        if not isinstance(header, dict) or not all(
            isinstance(entry, dict) for entry in header.values()
        ):
            raise ValueError("the header must be a JSON object of objects")
        written = json.dumps(
            header, ensure_ascii=False, separators=(",", ":")
        ).encode(errors="replace")
        # Tensors begin at a multiple of 8 bytes.
        if data[8:end] != written + b" " * (-len(written) % 8):
            raise ValueError(
                "altered: the header has spaces or escapes that are not "
                "written to such files"
            )
        return header

    def _metadata(self, entry: dict | None) -> Any:
        if entry is None or set(entry) != {self.key}:
            raise ValueError(
                f"not {self.title}: the header's __metadata__ must hold only "
                f"{self.key!r}. Received: {sorted(entry or {})}."
            )
        if not isinstance(entry[self.key], str):
            raise ValueError("the metadata must be a string")
        try:
            fields = json_values.strict_object(entry[self.key])
            version = fields.get("format_version")
            if version != self.version:
                raise ValueError(
                    f"the format version must be {self.version}. "
                    f"Received: {version!r}."
                )
            metadata = hyperparams.from_dict(self.metadata_class, fields)
            written = json_values.canonical_json(hyperparams.to_dict(metadata))
            if entry[self.key] != written:
                raise ValueError("altered: not as it was written")
            return metadata
        except ValueError as error:
            raise ValueError(f"metadata: {error}") from None


@contextlib.contextmanager
def errors_as(error_class: type[ValueError], prefix: str = "") -> abc.Iterator:
    """Raises any ValueError from inside as an `error_class`."""
    try:
        yield
    except ValueError as error:
        raise error_class(f"{prefix}{error}") from None


def read_tensors(
    data: bytes, header: abc.Mapping[str, dict], shapes: Shapes, dtype: str
) -> dict[str, np.ndarray]:
    """A file's tensors as finite, read-only float32 arrays.

    Args:
        header: from `Format.parse`, checked before any tensor is copied.
        shapes: exactly the tensors that must be there; their order is kept.
        dtype: one of `DTYPES`, in which the values are stored.

    Raises:
        ValueError: a tensor is missing, not expected, cut off, not finite or of
            another shape or dtype.
    """
    _check_names(shapes, header)
    for name, shape in shapes.items():
        received = [header[name].get("dtype"), header[name].get("shape")]
        expected = [DTYPES[dtype], list(shape)]
        if received != expected:
            raise ValueError(
                f"{name}: must be {expected[0]} {expected[1]}. "
                f"Received: {received[0]} {received[1]}."
            )
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"not a whole safetensors file: {error}") from None
    places = [entry["data_offsets"] for entry in header.values()]
    if list(header) != sorted(header) or places != sorted(places):
        raise ValueError("altered: the tensors have another order")
    tensors = {k: v.astype(np.float32, copy=False) for k, v in tensors.items()}
    return checked_tensors(shapes, tensors)


def checked_tensors(
    shapes: Shapes, tensors: abc.Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The tensors in the order of `shapes`, read-only from now on.

    Raises:
        ValueError: a tensor is missing, not expected, not finite, not float32
            or of another shape.
    """
    _check_names(shapes, tensors)
    result = {}
    for name, shape in shapes.items():
        tensor = result[name] = tensors[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name}: the shape must be {list(shape)}. "
                f"Received: {list(tensor.shape)}."
            )
        if tensor.dtype != np.float32:
            raise ValueError(
                f"{name}: the dtype must be float32. Received: {tensor.dtype}."
            )
        if not np.isfinite(tensor).all():
            raise ValueError(
                f"{name}: {np.sum(~np.isfinite(tensor))} of {tensor.size} "
                "values are not finite"
            )
        tensor.setflags(write=False)
    return result


def _check_names(shapes: Shapes, names: abc.Collection[str]) -> None:
    for name in shapes:
        if name not in names:
            raise ValueError(f"the tensor {name} is missing")
    for name in names:
        if name not in shapes:
            raise ValueError(f"the tensor {name!r} is not expected")


def checksum(metadata: Metadata, tensors: abc.Mapping[str, np.ndarray]) -> str:
    """SHA-256, in hex, of all metadata but itself and of all tensors."""
    fields = hyperparams.shallow(metadata)
    del fields["sha256"]
    digest = hashlib.sha256(json_values.canonical_json(fields).encode())
    for name in metadata.tensor_shapes:
        digest.update(f"\n{name}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").data)
    return digest.hexdigest()


def sealed(
    metadata: Any, tensors: abc.Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], Any]:
    """Checked tensors, and metadata with the checksum of the whole content.

    Raises:
        ValueError: as `checked_tensors`, or a field has another type.
    """
    hyperparams.to_dict(metadata)  # Checks the types of all fields.
    checked = checked_tensors(metadata.tensor_shapes, tensors)
    sha256 = checksum(metadata, checked)
    return checked, dataclasses.replace(metadata, sha256=sha256)


def check_seal(
    metadata: Metadata, tensors: abc.Mapping[str, np.ndarray]
) -> None:
    """Raises a ValueError unless the content has its own checksum."""
    sha256 = checksum(metadata, tensors)
    if sha256 != metadata.sha256:
        raise ValueError(
            f"altered: the SHA-256 must be {metadata.sha256}. "
            f"Received: {sha256}."
        )


def plain_json(name: str, value: abc.Mapping[str, Any] | None) -> dict:
    """A dict as JSON gives it back: string keys, lists for tuples.

    Raises:
        ValueError: it holds what JSON cannot, NaN for instance.
    """
    try:
        return json_values.plain(value or {})
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be JSON: {error}") from None
