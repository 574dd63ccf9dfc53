"""Programs of both base models, so small that they compile in seconds."""

import functools
import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from params import jobs, kinds, schema
from tasks.compilation import programs
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases
from tpu.aot import compiler

BASES = ("conformer", "whisper")
FUNCTIONS = ("train", "serve")
TOPOLOGIES = ("v4-8", "v5e-4", "v5p-8", "v6e-4")
NUM_SLOTS, PLACES, TOKENS = 5, 2, 8
ROWS = 3

needs_aot = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None
    or importlib.util.find_spec("libtpu") is None,
    reason="needs pip install -e '.[aot]'",
)


@functools.cache
def base(name):
    """A frozen base model of random weights."""
    if name == "conformer":
        return tiny.base(buckets_seconds=(1.0,))
    return whisper_bases.small()


def experiment():
    """Every part of the step: dropout, masks, clipping, several utterances."""
    return schema.Experiment(
        submodel=kinds.Submodel(dropout_rate=0.1),
        adapter=kinds.Adapter(bottleneck_dim=8),
        # Adam divides a gradient by itself: where it is rounding alone, its
        # sign would move a weight by a whole step.
        optimizer=jobs.Optimizer(epsilon=1e-4),
        augment=jobs.Augment(
            num_freq_masks=2, num_time_masks=1, freq_mask_max_bins=5
        ),
        train=jobs.Train(utterances_per_speaker=2),
    )


def program(base_name, function, values=None):
    """`programs.Program` of a base model; of `experiment` if no values."""
    model, values = base(base_name), values or experiment()
    if function == "serve":
        return programs.serve_program(model, values, ROWS, model.max_samples)
    return programs.train_program(
        model, values, NUM_SLOTS, PLACES, model.max_samples, TOKENS
    )


@functools.cache
def lowered(base_name, function):
    """A program as every chip's compiler takes it; lowered once."""
    made = program(base_name, function)
    return compiler.lower(made.function, list(made.specs.values()))


def arrays(specs, num_slots=NUM_SLOTS, seed=0):
    """Arguments of a program that are no shapes alone."""
    draw = np.random.default_rng(seed)
    made = {}
    for name, spec in specs.items():
        shape, dtype = spec.shape.as_list(), spec.dtype.as_numpy_dtype
        if name in ("length", "lengths"):
            samples = specs["audio"].shape[-1]
            value = draw.integers(samples // 2, samples + 1, shape)
        elif name == "token_lengths":
            value = draw.integers(1, TOKENS, shape)
        elif name == "tokens":
            value = draw.integers(1, 20, shape)
        elif name == "row_indices":
            value = draw.permutation(num_slots)[: shape[0]]
        elif name == "seeds":
            value = draw.integers(0, 2**31 - 1, shape)
        elif name in ("weights", "active"):
            value = np.ones(shape)
        elif name == "freq_masks" or name == "time_masks":
            value = draw.random(shape) * [1.0, 5.0]
        else:
            value = 0.1 * draw.standard_normal(shape)
        made[name] = tf.constant(np.asarray(value, dtype))
    return made
