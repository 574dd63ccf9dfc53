"""Times a training step on JAX for a growing number of Submodels.

    KERAS_BACKEND=jax python -m tests.benchmarks.jax_step [--rounds=20]

The step does the work of `tests.benchmarks.step_time`: the encoder of Whisper
tiny with random weights, a batch of 16 x 5 s of features, a bottleneck of 32
after each block, and the mean square of the encoder's output as the loss. XLA
compiles it for whatever device JAX has. A step gathers the rows of the batch's
Submodels, differentiates with respect to these rows only, updates them
(`adamw.AdamW`) and scatters them back in place. Weights and moments are
donated, so nothing as large as the stack is copied.

The variants take turns, and a ratio is the median over rounds. TensorFlow is
not needed and never imported.
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
from lingvo_like.base_models.whisper import encoder_decoder  # noqa: E402
from lingvo_like.stack import adamw  # noqa: E402
from lingvo_like.submodel import selection, sites  # noqa: E402
from tests import layouts  # noqa: E402
from tests.benchmarks import drawn_weights  # noqa: E402

BINS = 80
DIMENSIONS = encoder_decoder.Dimensions(
    num_bins=BINS,
    model_dim=384,
    num_heads=6,
    num_blocks=4,
    num_decoder_blocks=1,
    feed_forward_dim=1536,
    vocabulary_size=64,
)


class Job:
    """The stack of so many Submodels, and its compiled step.

    Args:
        encoder: a built `encoder_decoder.Encoder`, frozen.
        num_submodels: int, slots of the stack.
        arguments: the program's.
    """

    def __init__(self, encoder, num_submodels, arguments):
        self._encoder = encoder
        self._rule = adamw.AdamW(num_steps=10**6)
        speakers = min(arguments.batch, num_submodels)
        draw = np.random.default_rng(0)
        self._dtype = arguments.dtype
        self._layout = layouts.adapters(
            DIMENSIONS.model_dim,
            arguments.bottleneck_dim,
            range(DIMENSIONS.num_blocks),
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
        # An adapter computes in the type of its weights.
        functions = sites.site_functions(
            self._layout,
            {name: x.astype(self._dtype) for name, x in selected.items()},
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
    """Runs the variants in turns; returns the results."""
    if arguments.dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{arguments.dtype}")
    encoder = encoder_decoder.Encoder(DIMENSIONS)
    encoder.build()
    drawn_weights.draw(encoder)
    encoder.trainable = False
    jobs = {n: Job(encoder, n, arguments) for n in arguments.num_submodels}
    losses = {}
    for count, job in jobs.items():
        print(f"compiling {count}", file=sys.stderr)
        losses[count] = [float(np.mean(job.step())) for _ in range(2)]
    times = {count: [] for count in jobs}
    for _ in range(arguments.rounds):
        for count, job in jobs.items():
            start = time.perf_counter()
            for _ in range(arguments.steps):
                job.step()
            seconds = time.perf_counter() - start
            times[count].append(seconds / arguments.steps)
    device = jax.devices()[0]
    print(f"{device.device_kind}, {arguments.dtype}")
    print(
        f"{'Submodels':>9} {'median ms':>10} {'least ms':>10} {'state MB':>9}"
    )
    for count, values in times.items():
        print(
            f"{count:9} {statistics.median(values) * 1e3:10.2f} "
            f"{min(values) * 1e3:10.2f} {jobs[count].state_bytes / 1e6:9.0f}"
        )
    first = arguments.num_submodels[0]
    results = {
        "device": device.device_kind,
        "dtype": arguments.dtype,
        "jax": jax.__version__,
        "compilations": max(job.compilations for job in jobs.values()),
        "finite": bool(np.isfinite(list(losses.values())).all()),
    }
    for count, values in times.items():
        results[f"ms_{count}"] = round(1e3 * statistics.median(values), 3)
        if count != first:
            results[f"ratio_{count}"] = round(
                statistics.median(
                    a / b for a, b in zip(values, times[first], strict=True)
                ),
                4,
            )
    memory = device.memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        results["peak_gib"] = round(memory["peak_bytes_in_use"] / 2**30, 3)
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
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1, help="in a round")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--bottleneck_dim", type=int, default=32)
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16"]
    )
    results = run(parser.parse_args())
    if "tensorflow" in sys.modules:
        sys.exit("error: TensorFlow was imported")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
