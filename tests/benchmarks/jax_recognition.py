"""Times recognition on JAX of a batch of speakers with a Submodel each.

    KERAS_BACKEND=jax python -m tests.benchmarks.jax_recognition
    ... --kinds=all --batches=16,256 --parts=encoder,decoder

Whisper tiny.en with random weights hears 5 s of features of each utterance:
the encoder and the library's greedy search, which goes on for `--tokens` tokens
because the end is suppressed here. Each row has another speaker's Submodel,
gathered from a table of `--table`; a kind acts in `--parts` of the base, at the
sites that `KINDS` of `jax_submodels` names. A ratio is the median over rounds,
in which the base alone and the kinds take turns on the same batch.
TensorFlow is not needed and never imported.
"""

import functools
import json
import sys
import types

import jax
import numpy as np
from jax import numpy as jnp

# It chooses Keras's backend.
from tests.benchmarks import jax_submodels, turns  # isort: skip
from lingvo_like.base_models.whisper import (
    decoding,
    encoder_decoder,
    greedy_search,
)
from lingvo_like.layers import sites
from lingvo_like.submodel import selection

BASE = "base"
PROMPT_LENGTH = 3
# Small enough for activations to stay what they are.
DEVIATION = 0.01
_END = turns.VOCABULARY_SIZE - 1
_TOKENS = types.SimpleNamespace(
    end_of_text=_END, suppressed=[_END], suppressed_first=[]
)


class Recogniser:
    """The compiled recognition of batches, on the base or by a kind.

    Args:
        layers: the built encoder and decoder, by name.
        kind: one of `jax_submodels.KINDS`, or `BASE`.
        arguments: the program's.
    """

    def __init__(self, layers, kind, arguments):
        self._layers = list(layers.values())
        self._arguments = arguments
        self._layout, self._table = None, {}
        if kind != BASE:
            self._layout = jax_submodels.layout_of(
                kind, arguments.bottleneck_dim, arguments.parts
            )
            self._constants = jax_submodels.constants_of(self._layout, layers)
            self._table = jax_submodels.drawn_stack(
                self._layout,
                arguments.table,
                dict.fromkeys(self._layout.shapes, DEVIATION),
            )
        self._weights = jax_submodels.weights_of(self._layers)
        self._recognise = jax.jit(self._traced)

    @property
    def num_values(self):
        return self._layout.num_values if self._layout else 0

    @property
    def compilations(self):
        return self._recognise._cache_size()

    def __call__(self, rows, features):
        """Starts recognition; returns tokens, lengths and scores.

        Args:
            rows: `[batch]` int32, of the table.
            features: `[batch, time, num_bins]`.
        """
        return self._recognise(self._table, self._weights, rows, features)

    def _traced(self, table, weights, rows, features):
        functions = sites.NONE
        if self._layout:
            functions = jax_submodels.functions_of(
                self._layout,
                selection.select(table, rows),
                self._constants,
                self._arguments.dtype,
            )
        encoder, decoder = self._layers
        batch, tokens = features.shape[0], self._arguments.tokens
        rules = decoding.Rules(_TOKENS, turns.VOCABULARY_SIZE)
        limits = jnp.full([batch], tokens, jnp.int32)
        with jax_submodels.with_weights(self._layers, weights):
            encoded = jax_submodels.encode(encoder, features, functions)
            found, lengths, scores, _ = decoding.run(
                greedy_search.GreedySearch(rules, tokens, limits),
                encoder_decoder.SpecialisedDecoder(decoder, functions),
                encoded,
                jnp.zeros([batch, PROMPT_LENGTH], jnp.int32),
                # No text is cut, even if it repeats itself.
                limits,
            )
        return found, lengths, scores


def run(arguments):
    """Runs the batches one by one; returns the results."""
    results = jax_submodels.start(arguments)
    layers = {
        "encoder": jax_submodels.built(
            encoder_decoder.Encoder(jax_submodels.DIMENSIONS)
        ),
        "decoder": jax_submodels.built(
            encoder_decoder.Decoder(jax_submodels.DIMENSIONS)
        ),
    }
    recognisers = {
        kind: Recogniser(layers, kind, arguments)
        for kind in (BASE, *arguments.kinds)
    }
    results |= {"parts": arguments.parts, "tokens": arguments.tokens}
    print(
        f"{'kind':9} {'values':>8} {'batch':>9} {'median ms':>10} "
        f"{'least ms':>10} {'over base':>9}"
    )
    for batch in arguments.batches:
        results[str(batch)] = run_batch(recognisers, batch, arguments)
        turns.report(results, arguments)
    results["compilations"] = max(r.compilations for r in recognisers.values())
    return jax_submodels.end(results)


def run_batch(recognisers, batch, arguments):
    """Runs the base and the kinds in turns; returns their results."""
    draw = np.random.default_rng(0)
    features = jnp.asarray(
        draw.standard_normal((batch, arguments.frames, turns.BINS), np.float32)
    )
    rows = jnp.asarray(draw.permutation(arguments.table)[:batch], jnp.int32)
    functions, results = {}, {}
    for kind, recogniser in recognisers.items():
        print(f"compiling {kind}, batch of {batch}", file=sys.stderr)
        function = functools.partial(recogniser, rows, features)
        results[kind] = turns.attempt(
            kind, functools.partial(warm, function, arguments)
        )
        if "error" not in results[kind]:
            functions[kind] = function
    times = turns.take(functions, jax.block_until_ready, arguments)
    for kind, values in times.items():
        median_ms = turns.median_ms(times, kind)
        results[kind]["ms"] = median_ms
        ratio = ""
        if kind != BASE and BASE in times:
            results[kind]["ratio"] = turns.ratio(times, kind, BASE)
            ratio = f"{results[kind]['ratio']:9.3f}"
        print(
            f"{kind:9} {recognisers[kind].num_values:8} {batch:9} "
            f"{median_ms:10.2f} {min(values) * 1e3:10.2f} {ratio}",
            flush=True,
        )
    return results


def warm(function, arguments):
    """Compiles and runs recognition; says whether the texts are as wanted."""
    for _ in range(2):
        _, lengths, scores = map(np.asarray, function())
    return {
        "full": bool((lengths == arguments.tokens).all()),
        "finite": bool(np.isfinite(scores).all()),
    }


def main():
    parser = jax_submodels.parser(__doc__)
    parser.add_argument("--batches", type=turns.numbers, default=[16, 256])
    parser.add_argument(
        "--table",
        type=int,
        default=256,
        help="Submodels, at least as many as the largest batch has rows",
    )
    parser.add_argument("--tokens", type=int, default=24, help="of each text")
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        default=["encoder"],
        help="encoder, or encoder,decoder",
    )
    arguments = parser.parse_args()
    if arguments.table < max(arguments.batches):
        parser.error(
            f"--table must be at least {max(arguments.batches)}, the "
            f"largest batch. Received: {arguments.table}."
        )
    if not set(arguments.parts) <= {"encoder", "decoder"}:
        parser.error(
            "--parts must be encoder, decoder or both. "
            f"Received: {','.join(arguments.parts)}."
        )
    print(json.dumps(run(arguments)))


if __name__ == "__main__":
    main()
