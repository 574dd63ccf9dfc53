"""Bodies inflate to no more than they may."""

import gzip
import tracemalloc

import pytest

from tasks.serving import errors
from tasks.serving.fronts import compression


def test_a_bomb_takes_no_memory():
    bomb = gzip.compress(bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(errors.ServingError, match="more than 1000 bytes"):
            compression.inflate(bomb, 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18


def test_a_body_that_just_fits_is_inflated():
    assert compression.inflate(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
