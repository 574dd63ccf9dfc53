"""Connectionist temporal classification: loss and decoding.

Graves et al. 2006, "Connectionist Temporal Classification". The blank is
class 0; token ids start from 1.
"""

from keras import ops

BLANK = 0


def frames_needed(tokens):
    """Fewest frames that can spell `tokens`, a list of ids.

    One for each token and one for the blank between two equal neighbours.
    """
    repeats = sum(
        left == right for left, right in zip(tokens, tokens[1:], strict=False)
    )
    return len(tokens) + repeats


def negative_log_likelihood(logits, lengths, tokens, token_lengths):
    """-log p(tokens | logits), summed over all alignments.

    Tokens that need more frames than the utterance has have no alignment and
    an infinite loss. Their loss and gradient are 0 here, so that one such row
    cannot turn a whole job into NaN; `frames_needed` says beforehand which
    rows those are.

    Args:
        logits: `[batch, time, classes]` float32.
        lengths: `[batch]` int32, valid frames.
        tokens: `[batch, max_tokens]` int32.
        token_lengths: `[batch]` int32.

    Returns:
        `[batch]` float32, not normalised.
    """
    # No more tokens than frames: the alignment lattice has no use for them.
    tokens = tokens[:, : min(tokens.shape[1], logits.shape[1])]
    fits = _frames_needed(tokens, token_lengths) <= lengths
    fits = ops.logical_and(fits, token_lengths <= tokens.shape[1])
    loss = ops.ctc_loss(
        tokens,
        ops.cast(logits, "float32"),
        ops.where(fits, token_lengths, 0),
        lengths,
        mask_index=BLANK,
    )
    return ops.where(fits, loss, 0.0)


def _frames_needed(tokens, token_lengths):
    both = (
        ops.arange(1, tokens.shape[1], dtype="int32") < token_lengths[:, None]
    )
    repeats = ops.logical_and(tokens[:, 1:] == tokens[:, :-1], both)
    return token_lengths + ops.sum(ops.cast(repeats, "int32"), axis=1)


def greedy_decode(logits, lengths, max_tokens):
    """The best class of each frame, repeats merged, blanks dropped.

    Static shapes throughout, so it compiles for any device.

    Args:
        logits: `[batch, time, classes]`.
        lengths: `[batch]` int32, valid frames.
        max_tokens: int; what comes after so many tokens is cut.

    Returns:
        tokens `[batch, max_tokens]` int32, `BLANK` past their end, and
        lengths `[batch]` int32.
    """
    best = ops.cast(ops.argmax(logits, axis=-1), "int32")
    time = best.shape[1]
    frames = ops.arange(time, dtype="int32")[None, :]
    previous = ops.pad(best, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    emits = ops.logical_and(best != BLANK, best != previous)
    emits = ops.logical_and(emits, frames < lengths[:, None])
    order = ops.argsort(ops.where(emits, frames, frames + time), axis=1)
    count = ops.sum(ops.cast(emits, "int32"), axis=1)
    return _cut(ops.take_along_axis(best, order, axis=1), count, max_tokens)


def beam_decode(logits, lengths, max_tokens, beam_size):
    """Beam search over token prefixes, without a language model.

    The backend's own search: on TensorFlow a CPU kernel, which a graph that
    runs on a GPU calls back for and a TPU program cannot hold.

    Args:
        logits: `[batch, time, classes]`.
        lengths: `[batch]` int32, valid frames.
        max_tokens: int; what comes after so many tokens is cut.
        beam_size: int, prefixes kept.

    Returns:
        tokens `[batch, max_tokens]` int32, `BLANK` past their end, and
        lengths `[batch]` int32.
    """
    # A row of no frames makes the kernel fail; one frame of pure blank is
    # the same utterance.
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
    tokens = ops.reshape(paths[0], (-1, logits.shape[1]))
    count = ops.sum(ops.cast(tokens >= 0, "int32"), axis=1)
    return _cut(tokens, count, max_tokens)


def _cut(tokens, count, max_tokens):
    """Tokens at the front of each row to exactly `max_tokens` columns."""
    missing = max(0, max_tokens - tokens.shape[1])
    tokens = ops.pad(tokens, ((0, 0), (0, missing)))[:, :max_tokens]
    count = ops.minimum(count, max_tokens)
    columns = ops.arange(max_tokens, dtype="int32")[None, :]
    return ops.where(columns < count[:, None], tokens, BLANK), count
