"""Random streams keyed by names, so that nothing drawn depends on order.

A stream of (seed, speaker, step) is the same whoever else trains in the job,
in whatever order, in whichever process; Python's `hash()` is not.
"""

import hashlib

import numpy as np


def _digest(keys):
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return hashlib.sha256(text.encode()).digest()


def generator(*keys):
    """A NumPy generator that is a function of `keys` (strings, ints)."""
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(_digest(keys)[:16], "big"))
    )


def stateless_seed(*keys):
    """Two int32 for TensorFlow's stateless random functions, `[2]`."""
    return np.frombuffer(_digest(keys)[:8], dtype="<i4").astype(np.int32)
