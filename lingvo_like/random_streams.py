"""Random streams keyed by names, so that no draw depends on the order.

The stream of (seed, speaker, step) is the same whoever else trains in the job,
in whatever order and process. Python's `hash()` would differ between processes.
"""

import hashlib

import numpy as np


def _digest(keys: tuple[str | int, ...]) -> bytes:
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return hashlib.sha256(text.encode()).digest()


def generator(*keys: str | int) -> np.random.Generator:
    """A NumPy generator that depends on `keys` alone."""
    seed = int.from_bytes(_digest(keys)[:16], "big")
    return np.random.Generator(np.random.PCG64(seed))


def stateless_seed(*keys: str | int) -> np.ndarray:
    """A seed `[2]` int32 for TensorFlow's stateless random functions."""
    return np.frombuffer(_digest(keys)[:8], dtype="<i4").astype(np.int32)
