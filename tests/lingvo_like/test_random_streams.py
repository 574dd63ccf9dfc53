"""Random streams are a function of their names, everywhere and always."""

import subprocess
import sys

import numpy as np
import pytest

from lingvo_like import random_streams


def test_known_values():
    """A change of these changes every Submodel that is trained again."""
    assert random_streams.stateless_seed("dropout", 0, "ann", 3).tolist() == [
        -400919700,
        -634601836,
    ]
    drawn = random_streams.generator("masks", 0, "ann", 3).integers(
        0, 1 << 30, 4
    )
    assert drawn.tolist() == [728317790, 709588389, 276916505, 943803125]


def test_another_process_draws_the_same():
    """For any hash seed, on which Python's `hash()` depends."""
    program = (
        "from lingvo_like import random_streams as streams;"
        "print(streams.stateless_seed('epoch', 7, 'Jürgen 李', 0).tolist())"
    )
    expected = str(
        random_streams.stateless_seed("epoch", 7, "Jürgen 李", 0).tolist()
    )
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().strip() == expected


@pytest.mark.parametrize(
    "one, other",
    [
        (("a", "b"), ("b", "a")),
        (("ann", 3), ("ann", "3")),
        (("ann", 1), ("ann", True)),
        (("ann", 1), ("ann", 1.0)),
        (("ab", "c"), ("a", "bc")),
        (("ann", 1, 12), ("ann", 11, 2)),
        (("ann",), ("ann", "")),
        (("ann",), ("Ann",)),
    ],
)
def test_other_keys_are_other_streams(one, other):
    assert (
        random_streams.stateless_seed(*one).tolist()
        != random_streams.stateless_seed(*other).tolist()
    )
    assert not np.array_equal(
        random_streams.generator(*one).random(4),
        random_streams.generator(*other).random(4),
    )


def test_a_stream_does_not_depend_on_what_was_drawn_before():
    alone = random_streams.generator("ann", 5).random(3)
    random_streams.generator("ann", 4).random(1000)
    np.random.seed(1)
    np.testing.assert_array_equal(
        random_streams.generator("ann", 5).random(3), alone
    )


def test_seeds_are_what_stateless_random_functions_take():
    seeds = [random_streams.stateless_seed("ann", step) for step in range(200)]
    assert {seed.dtype for seed in seeds} == {np.dtype("int32")}
    assert {seed.shape for seed in seeds} == {(2,)}
    assert len({tuple(seed) for seed in seeds}) == 200
