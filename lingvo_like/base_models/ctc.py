"""The loss and the searches of connectionist temporal classification.

Graves et al. 2006, "Connectionist Temporal Classification". The blank is
class 0; token ids start at 1.
"""

import itertools
from typing import Any, TypeAlias

from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor
Pair: TypeAlias = tuple[Tensor, Tensor]

BLANK = 0
# The logarithm of 0. Finite, because infinity minus infinity is NaN.
LOG_ZERO = -1e9


def frames_needed(tokens: list[int]) -> int:
    """The smallest number of frames that can spell a list of token ids.

    One for each token, and one for the blank between equal neighbours.
    """
    pairs = itertools.pairwise(tokens)
    return len(tokens) + sum(left == right for left, right in pairs)


def negative_log_likelihood(
    logits: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor
) -> Tensor:
    """-log p(tokens | logits), where p is the sum over all alignments.

    Tokens that need more frames than the utterance has have no alignment and
    an infinite loss. Their loss and gradient are 0 here, so that one such row
    cannot turn a whole job into NaN. `frames_needed` tells beforehand which
    rows those are.

    Args:
        logits: `[batch, time, classes]` float32.
        lengths: `[batch]` int32, valid frames.
        tokens: `[batch, max_tokens]` int32.
        token_lengths: `[batch]` int32.

    Returns:
        `[batch]` float32, not normalised.
    """
    # Tokens beyond the number of frames are of no use to the lattice.
    tokens = tokens[:, : ops.shape(logits)[1]]
    max_tokens = ops.shape(tokens)[1]
    fits = ops.logical_and(
        _frames_needed(tokens, token_lengths) <= lengths,
        token_lengths <= max_tokens,
    )
    token_lengths = ops.where(fits, token_lengths, 0)
    # States are blank, token, blank, ..., token, blank.
    states = ops.reshape(
        ops.stack([ops.full_like(tokens, BLANK), tokens], axis=-1),
        (-1, 2 * max_tokens),
    )
    states = ops.pad(states, ((0, 0), (0, 1)), constant_values=BLANK)
    lattice = _Lattice(states, lengths, token_lengths)
    return ops.where(fits, lattice.loss(_emissions(logits, states)), 0.0)


def _emissions(logits: Tensor, states: Tensor) -> Tensor:
    """Log probability `[time, batch, states]` of each state's class."""
    num_classes = logits.shape[2]
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    rows = ops.reshape(
        ops.transpose(log_probs, (0, 2, 1)), (-1, ops.shape(logits)[1])
    )
    first_rows = num_classes * ops.arange(ops.shape(states)[0], dtype="int32")
    emissions = ops.take(rows, states + first_rows[:, None], axis=0)
    return ops.transpose(emissions, (2, 0, 1))


class _Lattice:
    """The states of a batch's alignments, and the ways between them.

    Graves et al. 2006, section 4.1, in logarithms: a state is reached from
    itself, from the state before it, and, if it is a token that differs from
    the token before, from that token.

    Args:
        states: `[batch, states]` int32, the class of each.
        lengths: `[batch]` int32, valid frames.
        token_lengths: `[batch]` int32.
    """

    def __init__(
        self, states: Tensor, lengths: Tensor, token_lengths: Tensor
    ) -> None:
        columns = ops.arange(ops.shape(states)[1], dtype="int32")[None, :]
        self._start = ops.where(columns == 0, 0.0, LOG_ZERO)
        # A path ends in the last blank or token, or in the blank without
        # tokens.
        last = 2 * token_lengths[:, None]
        self._end = ops.where(
            ops.logical_or(columns == last, columns == last - 1), 0.0, LOG_ZERO
        )
        skips = ops.logical_and(
            states[:, 2:] != BLANK, states[:, 2:] != states[:, :-2]
        )
        self._skips = ops.where(skips, 0.0, LOG_ZERO)
        self._lengths = lengths

    def loss(self, emissions: Tensor) -> Tensor:
        """The loss `[batch]` of emissions `[time, batch, states]`.

        The gradient is the paper's (minus the posterior of each state).
        Differentiating the loops would take three loops instead of two, and
        XLA cannot do it.
        """

        @ops.custom_gradient
        def function(emissions: Tensor) -> Any:
            alphas, log_likelihood = self._forward(emissions)

            def gradient(*args: Tensor, upstream: Tensor = None) -> Tensor:
                if upstream is None:
                    (upstream,) = args
                frames = ops.arange(ops.shape(emissions)[0], dtype="int32")
                betas = self._backward(emissions, frames)
                posteriors = ops.exp(alphas + betas - log_likelihood[:, None])
                valid = frames[:, None] < self._lengths[None, :]
                weight = -upstream[None, :, None]
                return ops.where(valid[:, :, None], weight * posteriors, 0.0)

            return -log_likelihood, gradient

        return function(emissions)

    def _forward(self, emissions: Tensor) -> Pair:
        """Log probabilities of all paths to a state, and of all alignments."""

        # The frame is part of the state because Keras scans several inputs
        # only where the graph knows their length.
        def step(state: Pair, emission: Tensor) -> tuple[Pair, Pair]:
            alphas, frame = state
            before = [
                alphas,
                _padded(alphas[:, :-1], 1, 0),
                _padded(alphas[:, :-2] + self._skips, 2, 0),
            ]
            new = emission + ops.logsumexp(ops.stack(before), axis=0)
            alphas = ops.where((frame < self._lengths)[:, None], new, alphas)
            return (alphas, frame + 1), (alphas, frame)

        initial = self._start + ops.zeros_like(self._end)
        first = ops.zeros((), dtype="int32")
        (final, _), (alphas, _) = ops.scan(
            step, (initial, first), emissions, length=_time(emissions)
        )
        return alphas, ops.logsumexp(final + self._end, axis=1)

    def _backward(self, emissions: Tensor, frames: Tensor) -> Tensor:
        """Log probabilities of all paths from a state to an end."""

        def step(following: Tensor, inputs: Pair) -> Pair:
            emission, frame = inputs
            after = [
                following,
                _padded(following[:, 1:], 0, 1),
                _padded(following[:, 2:] + self._skips, 0, 2),
            ]
            betas = ops.logsumexp(ops.stack(after), axis=0)
            goes_on = (frame < self._lengths - 1)[:, None]
            betas = ops.where(goes_on, betas, self._end)
            return betas + emission, betas

        _, betas = ops.scan(
            step,
            self._end,
            (emissions, frames),
            length=_time(emissions),
            reverse=True,
        )
        return betas


def _time(emissions: Tensor) -> int | None:
    # None in a graph that does not know it; the scan then asks its input.
    return emissions.shape[0]


def _padded(x: Tensor, before: int, after: int) -> Tensor:
    """`x` `[batch, states]` with impossible states on either side."""
    return ops.pad(x, ((0, 0), (before, after)), constant_values=LOG_ZERO)


def _frames_needed(tokens: Tensor, token_lengths: Tensor) -> Tensor:
    places = ops.arange(1, ops.shape(tokens)[1], dtype="int32")
    both = places < token_lengths[:, None]
    repeats = ops.logical_and(tokens[:, 1:] == tokens[:, :-1], both)
    return token_lengths + ops.sum(ops.cast(repeats, "int32"), axis=1)


def greedy_decode(
    logits: Tensor, lengths: Tensor, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """The best class of each frame, with repeats merged and blanks dropped.

    No shape depends on the data, so that it compiles for any device.

    Args:
        logits: `[batch, time, classes]`.
        lengths: `[batch]` int32, valid frames.
        max_tokens: the number of tokens after which a text is cut.

    Returns:
        tokens `[batch, max_tokens]` int32, `BLANK` past their end, and
        lengths `[batch]` int32.
    """
    best = ops.cast(ops.argmax(logits, axis=-1), "int32")
    time = ops.shape(best)[1]
    frames = ops.arange(time, dtype="int32")[None, :]
    previous = ops.pad(best, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    emits = ops.logical_and(best != BLANK, best != previous)
    emits = ops.logical_and(emits, frames < lengths[:, None])
    order = ops.argsort(ops.where(emits, frames, frames + time), axis=1)
    count = ops.sum(ops.cast(emits, "int32"), axis=1)
    return _cut(ops.take_along_axis(best, order, axis=1), count, max_tokens)


def beam_decode(
    logits: Tensor, lengths: Tensor, max_tokens: int, beam_size: int
) -> tuple[Tensor, Tensor]:
    """Beam search over token prefixes, without a language model.

    This is the backend's own search. On TensorFlow it is a CPU kernel: a graph
    on a GPU goes back to the CPU for it, and a TPU program cannot contain it.

    Takes and returns what `greedy_decode` does; `beam_size` prefixes are kept.
    """
    # The kernel fails on a row without frames, which equals a frame of pure
    # blank.
    empty = (lengths < 1)[:, None, None]
    blank = ops.one_hot(BLANK, logits.shape[2], dtype="float32") * 100.0
    logits = ops.where(empty, blank[None, None, :], logits)
    paths, _ = ops.ctc_decode(
        logits,
        ops.maximum(lengths, 1),
        strategy="beam_search",
        beam_width=beam_size,
        top_paths=1,
        mask_index=BLANK,
    )
    tokens = ops.reshape(paths[0], (-1, ops.shape(logits)[1]))
    count = ops.sum(ops.cast(tokens >= 0, "int32"), axis=1)
    return _cut(tokens, count, max_tokens)


def _cut(tokens, count, max_tokens: int) -> tuple[Tensor, Tensor]:
    """Brings left-aligned tokens to exactly `max_tokens` columns."""
    tokens = ops.pad(tokens, ((0, 0), (0, max_tokens)))[:, :max_tokens]
    count = ops.minimum(count, max_tokens)
    columns = ops.arange(max_tokens, dtype="int32")[None, :]
    return ops.where(columns < count[:, None], tokens, BLANK), count
