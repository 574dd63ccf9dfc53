"""The layers give on JAX what they give on TensorFlow.

A backend is chosen once a process, so this file is also a program: run with
KERAS_BACKEND=jax, it writes its outputs to the file that it is given.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from lingvo_like.base_models import ctc
from lingvo_like.layers import (
    adapter,
    conformer,
    feed_forward,
    frontend,
    lconv,
    relative_attention,
    spec_augment,
    subsampling,
)

PADDINGS = np.array([[0] * 9, [0] * 5 + [1] * 4], "float32")
ROOT = pathlib.Path(__file__).parents[2]


def outputs():
    """A dict of output arrays, of fixed weights and inputs."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype("float32")

    result = {}

    def run(layer, *inputs):
        output = layer(*inputs)
        if layer.weights:
            for weight in layer.weights:
                weight.assign(normal(*weight.shape) * 0.3)
            output = layer(*inputs)
        for i, tensor in enumerate(keras.tree.flatten(output)):
            name = f"{type(layer).__name__}_{i}"
            result[name] = keras.ops.convert_to_numpy(tensor)

    run(
        frontend.LogMelFrontend(num_bins=40),
        normal(2, 8000) * 0.1,
        np.array([8000, 5001], "int32"),
    )
    run(subsampling.ConvSubsampling(8), normal(2, 9, 12), PADDINGS)
    run(relative_attention.RelativeAttention(8, 2), normal(2, 9, 8), PADDINGS)
    run(lconv.LightConv(8, 4), normal(2, 9, 8), PADDINGS)
    run(feed_forward.FeedForward(8), normal(2, 9, 8))
    run(conformer.ConformerBlock(8, 2, 4), normal(2, 9, 8), PADDINGS)
    stack = adapter.StackedAdapter(3, 8, 4)
    for weight in stack.weights:
        weight.assign(normal(*weight.shape))
    for name, selector in (
        ("slots", np.array([2, 0], "int32")),
        ("embeddings", normal(2, 3)),
    ):
        output = stack(normal(2, 5, 8), stack.select(selector))
        result[f"adapter_{name}"] = keras.ops.convert_to_numpy(output)
    masks = np.array([[1, 4], [0, 3]], "int32")
    result["spec_augment"] = keras.ops.convert_to_numpy(
        spec_augment.apply(
            normal(2, 9, 8), masks, masks, masks, masks, PADDINGS
        )
    )
    lengths = np.array([9, 5], "int32")
    logits = keras.ops.convert_to_tensor(normal(2, 9, 6))
    tokens = np.array([[1, 1, 2], [5, 3, 0]], "int32")
    result["ctc_loss"] = keras.ops.convert_to_numpy(
        ctc.negative_log_likelihood(
            logits, lengths, tokens, np.array([3, 2], "int32")
        )
    )
    decoded = ctc.greedy_decode(logits, lengths, 8)
    result["ctc_tokens"] = keras.ops.convert_to_numpy(decoded[0])
    return result


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)
def test_layers_agree_between_tensorflow_and_jax(tmp_path):
    path = tmp_path / "outputs.npz"
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.lingvo_like.test_jax_backend", path],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected, actual = outputs(), np.load(path)
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            actual[name], value, atol=2e-4, rtol=2e-4, err_msg=name
        )


if __name__ == "__main__":
    if keras.backend.backend() != "jax":
        sys.exit("Run this with KERAS_BACKEND=jax.")
    np.savez(sys.argv[1], **outputs())
