"""Whisper tiny.en with random weights on JAX, and Submodels of every kind."""

import argparse
import os
import sys
from collections import abc

os.environ["KERAS_BACKEND"] = "jax"

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from jax import numpy as jnp  # noqa: E402

from lingvo_like.base_models import base_model  # noqa: E402
from lingvo_like.base_models.whisper import architecture  # noqa: E402
from lingvo_like.layers import sites as sites_lib  # noqa: E402
from lingvo_like.submodel import layout, sites  # noqa: E402
from lingvo_like.submodel.kinds import (  # noqa: E402
    adapter,
    lora,
    rotation,
    vectors,
)
from tests.benchmarks import drawn_weights, turns  # noqa: E402

DIMENSIONS = architecture.Dimensions(
    num_bins=turns.BINS,
    model_dim=turns.MODEL_DIM,
    num_heads=turns.NUM_HEADS,
    num_blocks=turns.NUM_BLOCKS,
    num_decoder_blocks=turns.NUM_BLOCKS,
    feed_forward_dim=turns.FEED_FORWARD_DIM,
    vocabulary_size=turns.VOCABULARY_SIZE,
)

# By kind: what makes it of a width or rank, and its sites in a stack of blocks.
KINDS = {
    "adapter": (lambda k: adapter.Adapter(k), "*/output"),
    "lora": (lambda k: lora.Lora(k, 2.0 * k), "*/attention/*"),
    "rotation": (lambda k: rotation.Rotation(k), "*/attention/*"),
    "bias": (lambda k: vectors.Bias(), "*/*/*"),
    "scale": (lambda k: vectors.Scale(), "*/*/*"),
}


def parser(doc):
    """The flags of the programs on JAX."""
    result = turns.parser_of_part(doc)
    result.add_argument(
        "--kinds", type=_kinds, default=["adapter"], help=", ".join(KINDS)
    )
    return result


def _kinds(text):
    kinds = list(KINDS) if text == "all" else text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(
                f"must be `all` or some of {', '.join(KINDS)}. "
                f"Received: {kind!r}."
            )
    return kinds


def start(arguments):
    """Sets the precision and names the device; the start of the results."""
    if arguments.dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{arguments.dtype}")
    device = jax.devices()[0]
    print(f"JAX {jax.__version__}, {device.device_kind}, {arguments.dtype}")
    return {
        "device": device.device_kind,
        "dtype": arguments.dtype,
        "jax": jax.__version__,
    }


def end(results):
    """Adds the most memory that was held, where the device tells."""
    if "tensorflow" in sys.modules:
        sys.exit("error: TensorFlow was imported")
    memory = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        results["peak_gib"] = round(memory["peak_bytes_in_use"] / 2**30, 3)
    return results


def built(layer):
    """The layer with weights that are drawn, and frozen."""
    layer.build()
    drawn_weights.draw(layer)
    layer.trainable = False
    return layer


def layout_of(kind, width, parts=(base_model.ENCODER,)):
    """The layout of Submodels of a kind, of this width or rank.

    `parts` are those of the base that have it: the encoder, the decoder.
    """
    make, pattern = KINDS[kind]
    found = layout.matching_sites(
        architecture.all_sites(DIMENSIONS),
        [f"{part}/{pattern}" for part in parts],
    )
    return layout.Layout((layout.Part(make(width), found),))


def constants_of(of, layers):
    """What the layout's kinds need of the base's kernels.

    `layers` are the encoder and the decoder, by name.
    """

    def kernel(site):
        part, block, name = site.split("/", 2)
        index = int(block.removeprefix("block_"))
        found = layers[part].blocks[index].kernel(name)
        return keras.ops.convert_to_numpy(found)

    return of.constants(kernel)


def drawn_stack(of, num_submodels, deviations: abc.Mapping[str, float]):
    """A stack of so many Submodels on the device.

    `deviations` are those of the tensors that are not zero.
    """
    draw = np.random.default_rng(0)
    return {
        name: jnp.asarray(
            draw.standard_normal((num_submodels, *shape), np.float32)
            * np.float32(deviations[name])
            if name in deviations
            else np.zeros((num_submodels, *shape), np.float32)
        )
        for name, shape in of.shapes.items()
    }


def functions_of(of, selected, constants, dtype):
    """The functions of the sites, for Submodels `selected` from a stack."""
    # A kind computes in the type of its weights.
    weights = {name: x.astype(dtype) for name, x in selected.items()}
    return sites.site_functions(of, weights, constants)


def encode(encoder, features, functions: sites_lib.SiteFunctions):
    """The encoder's output for features `[batch, time, num_bins]`."""
    x = encoder.subsample(features)
    for block, layer in enumerate(encoder.blocks):
        inside = functions.within(
            base_model.block_name(base_model.ENCODER, block)
        )
        x = layer(x, functions=inside)
        x = inside.apply(base_model.OUTPUT, x, x)
    return encoder.norm(x)


def with_weights(layers, values):
    """A scope in which the layers' weights have these values.

    So they are arguments of a compiled function, not constants in it.
    """
    weights = [weight for layer in layers for weight in layer.weights]
    return keras.StatelessScope(
        state_mapping=list(zip(weights, values, strict=True))
    )


def weights_of(layers):
    return [weight.value for layer in layers for weight in layer.weights]
