"""The outside of a safetensors file: its header, read before its tensors.

The library reads tensors; what it says nothing about is checked here: lengths
before anything is parsed, and a header that is strict JSON.
"""

import hashlib

import numpy as np
import safetensors
import safetensors.numpy

from lingvo_like import json_values


def header(data, max_file_bytes, max_header_bytes):
    """The JSON at the start of a safetensors file, as a dict of dicts.

    Args:
        data: bytes, the whole file.
        max_file_bytes, max_header_bytes: ints.

    Raises:
        ValueError: it is cut off, too long or not such a header.
    """
    if len(data) < 8:
        raise ValueError(
            "empty or cut off: a safetensors file has at least 8 bytes. "
            f"Received: {len(data)}."
        )
    check_lengths(data, max_file_bytes, max_header_bytes)
    header_bytes = int.from_bytes(data[:8], "little")
    try:
        result = json_values.strict_json(data[8 : 8 + header_bytes].decode())
    except ValueError as error:
        raise ValueError(f"the header is not JSON: {error}") from None
    if not isinstance(result, dict) or not all(
        isinstance(entry, dict) for entry in result.values()
    ):
        raise ValueError("the header must be a JSON object of objects")
    return result


def check_lengths(data, max_file_bytes, max_header_bytes):
    """Refuses a file, or a header, that is longer than it may be.

    Raises:
        ValueError: says the limit and what came.
    """
    if len(data) > max_file_bytes:
        raise ValueError(
            f"must have at most {max_file_bytes} bytes. Received: {len(data)}."
        )
    header_bytes = int.from_bytes(data[:8], "little")
    limit = min(max_header_bytes, len(data) - 8)
    if header_bytes > limit:
        raise ValueError(
            "cut off or not a safetensors file: the header must have at most "
            f"{limit} bytes. Received: {header_bytes}."
        )


def sha256(fields, tensors):
    """SHA-256, in hex, of what a file holds, but for the checksum itself.

    Args:
        fields: JSON-able dict, the metadata.
        tensors: dict of name to float32 array, in an order that is kept.
    """
    digest = hashlib.sha256(json_values.canonical_json(fields).encode())
    for name, tensor in tensors.items():
        digest.update(f"\n{name}\n".encode())
        digest.update(np.ascontiguousarray(tensor, "<f4").data)
    return digest.hexdigest()


def tensors(data):
    """A file's arrays by name.

    Raises:
        ValueError: it is not whole.
    """
    try:
        return safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"not a whole safetensors file: {error}") from None
