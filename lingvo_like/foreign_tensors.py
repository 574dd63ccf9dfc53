"""Tensors of safetensors files that other projects write."""

import numpy as np
import safetensors

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def parse(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name, as float32.

    Values that float32 cannot hold are infinite.

    Raises:
        ValueError: the bytes are damaged or truncated, or a tensor holds no
            floats.
    """
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"truncated or damaged: {error}") from error
    tensors = {}
    for name, entry in entries:
        raw, kind = entry["data"], entry["dtype"]
        if kind == "BF16":
            value = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            value = value.view(np.float32)
        elif kind in _TYPES:
            value = np.frombuffer(raw, _TYPES[kind])
            with np.errstate(over="ignore"):
                value = value.astype(np.float32, copy=False)
        else:
            raise ValueError(f"{name!r} has the type {kind}; expected floats")
        tensors[name] = value.reshape(entry["shape"])
    return tensors
