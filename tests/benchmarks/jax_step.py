"""Times a training step on JAX for a growing number of Submodels.

    KERAS_BACKEND=jax python -m tests.benchmarks.jax_step [--rounds=20]
    ... --kinds=all --num_submodels=1,128,1024,4096

The step does the work of `tests.benchmarks.step_time`: the encoder of Whisper
tiny with random weights, a batch of 16 x 5 s of features, Submodels of one
kind, and the mean square of the encoder's output as the loss. `KINDS` of
`jax_submodels` says where each kind acts; a bottleneck or rank is
`--bottleneck_dim`. XLA compiles it for whatever device JAX has. A step gathers
the rows of the batch's Submodels, differentiates with respect to these rows
only, updates them (`adamw.AdamW`) and scatters them back in place. Weights and
moments are donated, so nothing as large as the stack is copied.

The variants of a kind take turns, and a ratio is the median over rounds.
TensorFlow is not needed and never imported.
"""

import functools
import gc
import json
import sys

import jax
import numpy as np
from jax import numpy as jnp

# It chooses Keras's backend.
from tests.benchmarks import jax_submodels, turns  # isort: skip
from lingvo_like.base_models.whisper import encoder_decoder
from lingvo_like.stack import adamw
from lingvo_like.submodel import selection


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
        self._layout = jax_submodels.layout_of(kind, arguments.bottleneck_dim)
        self._constants = jax_submodels.constants_of(
            self._layout, {"encoder": encoder}
        )
        self._stack = jax_submodels.drawn_stack(
            self._layout, num_submodels, self._layout.initial_deviations
        )
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
        features = (arguments.batch, arguments.frames, turns.BINS)
        self._features = jnp.asarray(draw.standard_normal(features, np.float32))
        self._slots = [
            jnp.asarray(draw.permutation(num_submodels)[:speakers], jnp.int32)
            for _ in range(8)
        ]
        self._taken = 0
        self._weights = jax_submodels.weights_of([encoder])
        self._step = jax.jit(self._traced, donate_argnums=(0, 1))

    def step(self):
        """Starts a step of the next speakers; returns `[speakers]` losses."""
        slots = self._slots[self._taken % len(self._slots)]
        self._taken += 1
        self._stack, self._state, losses = self._step(
            self._stack, self._state, self._weights, slots, self._features
        )
        return losses

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
        speakers = next(iter(selected.values())).shape[0]
        functions = jax_submodels.functions_of(
            self._layout, selected, self._constants, self._dtype
        )
        with jax_submodels.with_weights([self._encoder], weights):
            x = jax_submodels.encode(self._encoder, features, functions)
        squares = jnp.square(x.astype(jnp.float32))
        losses = squares.reshape(speakers, -1).mean(axis=1)
        return losses.sum(), losses


def run(arguments):
    """Runs the kinds one by one; returns the results."""
    results = jax_submodels.start(arguments)
    encoder = jax_submodels.built(
        encoder_decoder.Encoder(jax_submodels.DIMENSIONS)
    )
    print(
        f"{'kind':9} {'values':>8} {'Submodels':>9} {'median ms':>10} "
        f"{'least ms':>10} {'state MB':>9} {'ratio':>7}"
    )
    for kind in arguments.kinds:
        results[kind] = turns.attempt(
            kind, functools.partial(run_kind, encoder, kind, arguments)
        )
        turns.report(results, arguments)
        # A job and its compiled step hold each other, and the stack.
        gc.collect()
    return jax_submodels.end(results)


def run_kind(encoder, kind, arguments):
    """Runs the variants of one kind in turns; returns its results."""
    jobs, losses = {}, {}
    for count in arguments.num_submodels:
        print(f"compiling {kind} {count}", file=sys.stderr)
        jobs[count] = job = Job(encoder, kind, count, arguments)
        losses[count] = [float(np.mean(job.step())) for _ in range(2)]
    times = turns.take(
        {count: job.step for count, job in jobs.items()},
        jax.block_until_ready,
        arguments,
    )
    layout = jax_submodels.layout_of(kind, arguments.bottleneck_dim)
    results = {
        "num_values": layout.num_values,
        "compilations": max(job.compilations for job in jobs.values()),
        "finite": bool(np.isfinite(list(losses.values())).all()),
    }
    for count, values in times.items():
        median_ms = turns.median_ms(times, count)
        ratio = turns.ratio(times, count, arguments.num_submodels[0])
        results[f"ms_{count}"], results[f"ratio_{count}"] = median_ms, ratio
        print(
            f"{kind:9} {layout.num_values:8} {count:9} {median_ms:10.2f} "
            f"{min(values) * 1e3:10.2f} {jobs[count].state_bytes / 1e6:9.0f} "
            f"{ratio:7.3f}",
            flush=True,
        )
    return results


def main():
    parser = jax_submodels.parser(__doc__)
    parser.add_argument(
        "--num_submodels", type=turns.numbers, default=[1, 128, 1024]
    )
    parser.add_argument("--batch", type=int, default=16)
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
