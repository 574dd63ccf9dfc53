"""Training a Submodel computes the same on JAX as on TensorFlow.

Layers, both base models with every kind of Submodel (encoder, loss, gradient,
greedy decoding), the speaker encoder and the update of slots. A backend is
chosen once a process, so this file is also a program: run with
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
    conformer,
    feed_forward,
    frontend,
    lconv,
    relative_attention,
    speaker_encoder,
    spec_augment,
    subsampling,
)
from lingvo_like.stack import adamw
from lingvo_like.submodel import layout as submodel_layout, selection, sites
from lingvo_like.submodel.kinds import adapter, lora, rotation, vectors
from tests import layouts, tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

PADDINGS = np.array([[0] * 9, [0] * 5 + [1] * 4], "float32")
ROOT = pathlib.Path(__file__).parents[2]


def layer_outputs():
    """Outputs of single layers, by name."""
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
    run(
        speaker_encoder.SpeakerEncoder(8, 4, 6),
        normal(2, 3, 9, 8),
        np.stack([PADDINGS[[0, 1, 1]], PADDINGS[[1, 0, 0]]]),
        np.array([[1, 1, 0], [1, 0.5, 1]], "float32"),
    )
    layout = layouts.adapters(8, 4, (0,))
    stacked = {k: normal(3, *shape) for k, shape in layout.shapes.items()}
    for name, selector in (
        ("row_indices", np.array([2, 0], "int32")),
        ("embeddings", normal(2, 3)),
    ):
        weights = selection.select(stacked, selector)
        functions = sites.site_functions(layout, weights)
        x = normal(4, 5, 8)
        output = functions.apply(layout.site_names[0], x, x)
        result[f"adapter_{name}"] = keras.ops.convert_to_numpy(output)
    masks = np.array([[1, 4], [0, 3]], "int32")
    result["spec_augment"] = keras.ops.convert_to_numpy(
        spec_augment.apply(normal(2, 9, 8), masks, masks, masks, masks)
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


def base_models():
    """The two base models, small, with fixed weights."""
    conformer_base, whisper_base = tiny.base(), whisper_bases.small()
    rng = np.random.default_rng(1)
    for _, weight in sorted(conformer_base.named_weights().items()):
        if weight.name in ("kernel", "bias"):
            weight.assign(0.2 * rng.normal(size=weight.shape))
    return {"conformer": conformer_base, "whisper": whisper_base}


def compiled(function):
    """A function as it runs in training: JAX compiles operations one by one."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def gradient(function, tensors):
    """The gradient of a scalar function of a dict of arrays."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(tensors)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tensors = {name: tf.constant(x) for name, x in tensors.items()}
        tape.watch(tensors)
        value = function(tensors)
    return tape.gradient(value, tensors)


def all_kinds(base):
    """A layout of every kind of Submodel, in encoder and decoder."""
    return submodel_layout.Layout(
        tuple(
            submodel_layout.Part(
                kind, submodel_layout.matching_sites(base.sites, patterns)
            )
            for kind, patterns in (
                (adapter.Adapter(4), ["encoder/*/output"]),
                (lora.Lora(2, 4.0), ["*/*/attention/query"]),
                (rotation.Rotation(3), ["*/*/attention/value"]),
                (vectors.Bias(), ["*/*/attention/output"]),
                (vectors.Scale(), ["*/*/*/inner"]),
            )
        )
    )


def base_outputs(name, base):
    """Results of a base model with Submodels of two speakers, by name."""
    rng = np.random.default_rng(2)
    layout = all_kinds(base)
    constants = layout.constants(base.kernel)
    # A basis that two speakers' embeddings mix.
    elements = {
        name: 0.3 * rng.normal(size=(3, *shape)).astype("float32")
        for name, shape in layout.shapes.items()
    }
    embeddings = rng.normal(size=(2, 3)).astype("float32")
    lengths = np.array([16000, 9000], "int32")
    audio = whisper_bases.utterances(lengths, base.bucket_samples(16000))
    tokens = np.array([[3, 5, 5, 2], [7, 1, 0, 0]], "int32")
    token_lengths = np.array([4, 2], "int32")

    def site_functions(elements):
        weights = selection.select(elements, embeddings)
        return sites.site_functions(layout, weights, constants)

    def encode(functions):
        features, paddings = base.features(audio, lengths)
        return base.encode(features, paddings, functions)

    def losses(elements):
        functions = site_functions(elements)
        encoded, paddings = encode(functions)
        return base.loss(
            encoded, paddings, tokens, token_lengths, functions=functions
        )

    @compiled
    def everything(elements):
        functions = site_functions(elements)
        encoded, paddings = encode(functions)
        decoded = base.decode(encoded, paddings, functions=functions)
        result = {
            "features": base.features(audio, lengths)[0],
            "paddings": paddings,
            "encoded": encoded,
            "losses": losses(elements),
            "tokens": decoded[0],
            "token_lengths": decoded[1],
            "scores": decoded[2],
        }
        return result, gradient(lambda x: keras.ops.sum(losses(x)), elements)

    result, slopes = everything(elements)
    for each, value in slopes.items():
        # Of the size of the largest: small ones are differences of large.
        value = keras.ops.convert_to_numpy(value)
        result[f"gradient/{each}"] = value / np.abs(value).max()
    return {
        f"{name}/{key}": keras.ops.convert_to_numpy(value)
        for key, value in result.items()
    }


def update_outputs():
    """Weights, moments, counts and norms after updates, by name."""
    rng = np.random.default_rng(3)
    shapes = {"kernel": (4, 3, 5), "bias": (4, 6)}

    def normal():
        return {
            name: rng.normal(size=shape).astype("float32")
            for name, shape in shapes.items()
        }

    zeros = {name: np.zeros(shape, "float32") for name, shape in shapes.items()}
    rule = adamw.AdamW(
        num_steps=9, warmup_steps=2, learning_rate=0.1, weight_decay=0.01
    )
    update = compiled(rule.update)
    counts = np.zeros([4], "int32")
    state = adamw.State(counts, counts, zeros, zeros)
    weights = normal()
    result = {}
    for step in range(4):
        gradients = normal()
        if step == 2:
            gradients["bias"][1, 2] = np.nan
        active = np.array([True, True, True, step < 2])
        weights, state, norms = update(state, active, weights, gradients)
        result[f"norms_{step}"] = norms
    result |= weights | {"steps": state.steps, "skipped": state.skipped}
    for kind in ("first_moments", "second_moments"):
        for name, value in getattr(state, kind).items():
            result[f"{kind}/{name}"] = value
    return {
        f"update/{key}": keras.ops.convert_to_numpy(value)
        for key, value in result.items()
    }


def outputs():
    """A dict of output arrays, of fixed weights and inputs."""
    result = layer_outputs() | update_outputs()
    for name, base in base_models().items():
        result |= base_outputs(name, base)
    return result


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)
def test_everything_agrees_between_tensorflow_and_jax(tmp_path):
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
        tolerance = 2e-6 if name.startswith("update/") else 2e-4
        np.testing.assert_allclose(
            actual[name], value, atol=tolerance, rtol=tolerance, err_msg=name
        )
        # Zeros would agree with zeros.
        assert np.any(value) or name.endswith("paddings"), name


def test_what_trains_on_jax_needs_no_tensorflow():
    modules = [
        "paddings",
        "base_models.ctc",
        "base_models.whisper.beam_search",
        "base_models.whisper.decoding",
        "base_models.whisper.encoder_decoder",
        "base_models.whisper.greedy_search",
        "stack.adamw",
        "submodel.selection",
        "submodel.sites",
        *(
            f"layers.{path.stem}"
            for path in (ROOT / "lingvo_like" / "layers").glob("[!_]*.py")
        ),
    ]
    program = "import sys\nsys.modules['tensorflow'] = None\n" + "".join(
        f"import lingvo_like.{module}\n" for module in modules
    )
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


if __name__ == "__main__":
    if keras.backend.backend() != "jax":
        sys.exit("Run this with KERAS_BACKEND=jax.")
    np.savez(sys.argv[1], **outputs())
