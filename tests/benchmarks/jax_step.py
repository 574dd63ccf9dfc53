"""Times a training step on JAX for a growing number of Submodels.

    KERAS_BACKEND=jax python -m tests.benchmarks.jax_step [--rounds=20]
    ... --kinds=adapter,lora,rotation,bias,scale --num_submodels=1,128,1024,4096

The step does the work of `tests.benchmarks.step_time`: the encoder of Whisper
tiny with random weights, a batch of 16 x 5 s of features, Submodels of one
kind, and the mean square of the encoder's output as the loss. `KINDS` says
where each kind acts; a bottleneck or rank is `--bottleneck_dim`. XLA
compiles it for whatever device JAX has. A step gathers the rows of the batch's
Submodels, differentiates with respect to these rows only, updates them
(`adamw.AdamW`) and scatters them back in place. Weights and moments are
donated, so nothing as large as the stack is copied.

The variants of a kind take turns, and a ratio is the median over rounds.
TensorFlow is not needed and never imported.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from jax import numpy as jnp  # noqa: E402

from lingvo_like.base_models import base_model  # noqa: E402
from lingvo_like.base_models.whisper import architecture, encoder_decoder  # noqa: E402
from lingvo_like.stack import adamw  # noqa: E402
from lingvo_like.submodel import layout, selection, sites  # noqa: E402
from lingvo_like.submodel.kinds import (  # noqa: E402
    adapter,
    lora,
    rotation,
    vectors,
)
from tests.benchmarks import drawn_weights  # noqa: E402

BINS = 80
DIMENSIONS = architecture.Dimensions(
    num_bins=BINS,
    model_dim=384,
    num_heads=6,
    num_blocks=4,
    num_decoder_blocks=1,
    feed_forward_dim=1536,
    vocabulary_size=64,
)

# By kind: what makes it of a width or rank, and its sites.
KINDS = {
    "adapter": (lambda k: adapter.Adapter(k), "encoder/*/output"),
    "lora": (lambda k: lora.Lora(k, 2.0 * k), "encoder/*/attention/*"),
    "rotation": (lambda k: rotation.Rotation(k), "encoder/*/attention/*"),
    "bias": (lambda k: vectors.Bias(), "encoder/*/*/*"),
    "scale": (lambda k: vectors.Scale(), "encoder/*/*/*"),
}


def layout_of(kind, width):
    """The layout of Submodels of a kind, of this width or rank."""
    make, pattern = KINDS[kind]
    found = layout.matching_sites(architecture.all_sites(DIMENSIONS), [pattern])
    return layout.Layout((layout.Part(make(width), found),))


def kernel_of(encoder, site):
    """The kernel of a projection of the encoder."""
    _, block, name = site.split("/", 2)
    index = int(block.removeprefix("block_"))
    return keras.ops.convert_to_numpy(encoder.blocks[index].kernel(name))


class Job:
    """The stack of so many Submodels, and its compiled step.

    Args:
        encoder: a built `encoder_decoder.Encoder`, frozen.
        kind: one of `KINDS`.
        num_submodels: int, slots of the stack.
        arguments: the program's.
    """

    def __init__(self, encoder, kind, num_submodels, arguments):
        self._encoder = encoder
        self._rule = adamw.AdamW(num_steps=10**6)
        speakers = min(arguments.batch, num_submodels)
        draw = np.random.default_rng(0)
        self._dtype = arguments.dtype
        self._layout = layout_of(kind, arguments.bottleneck_dim)
        self._constants = self._layout.constants(
            lambda site: kernel_of(encoder, site)
        )
        deviations = self._layout.initial_deviations
        self._stack = {
            name: jnp.asarray(
                draw.standard_normal((num_submodels, *shape), np.float32)
                * np.float32(deviations.get(name, 0.0))
            )
            for name, shape in self._layout.shapes.items()
        }
        # Separate buffers, because each of them is donated.
        self._state = adamw.State(
            jnp.zeros([num_submodels], jnp.int32),
            jnp.zeros([num_submodels], jnp.int32),
            {name: jnp.zeros_like(x) for name, x in self._stack.items()},
            {name: jnp.zeros_like(x) for name, x in self._stack.items()},
        )
        self.state_bytes = sum(
            x.nbytes for x in jax.tree.leaves((self._stack, self._state))
        )
        features = (arguments.batch, arguments.frames, BINS)
        self._features = jnp.asarray(draw.standard_normal(features, np.float32))
        self._slots = [
            jnp.asarray(draw.permutation(num_submodels)[:speakers], jnp.int32)
            for _ in range(8)
        ]
        self._taken = 0
        self._weights = [weight.value for weight in encoder.weights]
        self._step = jax.jit(self._traced, donate_argnums=(0, 1))

    def step(self):
        """One step of the next speakers; returns the losses `[speakers]`."""
        slots = self._slots[self._taken % len(self._slots)]
        self._taken += 1
        self._stack, self._state, losses = self._step(
            self._stack, self._state, self._weights, slots, self._features
        )
        return jax.block_until_ready(losses)

    @property
    def compilations(self):
        return self._step._cache_size()

    def _traced(self, stack, state, weights, slots, features):
        def gather(tree):
            return jax.tree.map(lambda x: x[slots], tree)

        def scatter(tree, rows):
            return jax.tree.map(
                lambda x, row: x.at[slots].set(
                    row, unique_indices=True, mode="promise_in_bounds"
                ),
                tree,
                rows,
            )

        selected, state_rows = selection.select(stack, slots), gather(state)
        gradients, losses = jax.grad(self._loss, has_aux=True)(
            selected, weights, features
        )
        active = jnp.ones(slots.shape, bool)
        update = self._rule.update(state_rows, active, selected, gradients)
        return (
            scatter(stack, update.weights),
            scatter(state, update.state),
            losses,
        )

    def _loss(self, selected, weights, features):
        mapping = list(zip(self._encoder.weights, weights, strict=True))
        speakers = next(iter(selected.values())).shape[0]
        # A kind computes in the type of its weights.
        functions = sites.site_functions(
            self._layout,
            {name: x.astype(self._dtype) for name, x in selected.items()},
            self._constants,
        )
        with keras.StatelessScope(state_mapping=mapping):
            x = self._encoder.subsample(features)
            for block, layer in enumerate(self._encoder.blocks):
                inside = functions.within(
                    base_model.block_name(base_model.ENCODER, block)
                )
                x = layer(x, functions=inside)
                x = inside.apply(base_model.OUTPUT, x, x)
            x = self._encoder.norm(x)
        squares = jnp.square(x.astype(jnp.float32))
        losses = squares.reshape(speakers, -1).mean(axis=1)
        return losses.sum(), losses


def run(arguments):
    """Runs the kinds one by one; returns the results."""
    if arguments.dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{arguments.dtype}")
    encoder = encoder_decoder.Encoder(DIMENSIONS)
    encoder.build()
    drawn_weights.draw(encoder)
    encoder.trainable = False
    device = jax.devices()[0]
    results = {
        "device": device.device_kind,
        "dtype": arguments.dtype,
        "jax": jax.__version__,
    }
    print(f"{device.device_kind}, {arguments.dtype}")
    print(
        f"{'kind':9} {'values':>8} {'Submodels':>9} {'median ms':>10} "
        f"{'least ms':>10} {'state MB':>9} {'ratio':>7}"
    )
    for kind in arguments.kinds:
        results[kind] = run_kind(encoder, kind, arguments)
    memory = device.memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        results["peak_gib"] = round(memory["peak_bytes_in_use"] / 2**30, 3)
    return results


def run_kind(encoder, kind, arguments):
    """Runs the variants of one kind in turns; returns its results."""
    counts = arguments.num_submodels
    jobs = {n: Job(encoder, kind, n, arguments) for n in counts}
    losses = {}
    for count, job in jobs.items():
        print(f"compiling {kind} {count}", file=sys.stderr)
        losses[count] = [float(np.mean(job.step())) for _ in range(2)]
    times = {count: [] for count in jobs}
    for _ in range(arguments.rounds):
        for count, job in jobs.items():
            start = time.perf_counter()
            for _ in range(arguments.steps):
                job.step()
            seconds = time.perf_counter() - start
            times[count].append(seconds / arguments.steps)
    num_values = layout_of(kind, arguments.bottleneck_dim).num_values
    results = {
        "num_values": num_values,
        "compilations": max(job.compilations for job in jobs.values()),
        "finite": bool(np.isfinite(list(losses.values())).all()),
    }
    for count, values in times.items():
        ratio = statistics.median(
            a / b for a, b in zip(values, times[counts[0]], strict=True)
        )
        results[f"ms_{count}"] = round(1e3 * statistics.median(values), 3)
        results[f"ratio_{count}"] = round(ratio, 4)
        print(
            f"{kind:9} {num_values:8} {count:9} "
            f"{statistics.median(values) * 1e3:10.2f} "
            f"{min(values) * 1e3:10.2f} {jobs[count].state_bytes / 1e6:9.0f} "
            f"{ratio:7.3f}"
        )
    return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--num_submodels",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 128, 1024],
    )
    parser.add_argument(
        "--kinds",
        type=lambda text: text.split(","),
        default=["adapter"],
        help=", ".join(KINDS),
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1, help="in a round")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--bottleneck_dim", type=int, default=32)
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16"]
    )
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        if kind not in KINDS:
            parser.error(f"--kinds has {kind!r}; it takes {', '.join(KINDS)}")
    results = run(arguments)
    if "tensorflow" in sys.modules:
        sys.exit("error: TensorFlow was imported")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
