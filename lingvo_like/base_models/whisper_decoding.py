"""Batched greedy and beam search over a Whisper decoder, in the graph.

The scores and rules are OpenAI's (whisper/decoding.py) without timestamps:
suppressed tokens are struck out before the softmax, the first token is neither
blank nor the end, and beams are ranked by their mean log probability.
"""

import numpy as np
from keras import ops

# Struck out: finite, so that sums of it stay ordered and free of NaN.
IMPOSSIBLE = -1e9


class Rules:
    """What may come next.

    Args:
        tokenizer: `WhisperTokenizer`.
        vocabulary_size: int, rows of the output embedding.
    """

    def __init__(self, tokenizer, vocabulary_size):
        self.prompt = tokenizer.prompt
        self.end_of_text = tokenizer.end_of_text
        self._always = np.zeros(vocabulary_size, "float32")
        self._always[tokenizer.suppressed] = IMPOSSIBLE
        self._first = self._always.copy()
        self._first[tokenizer.suppressed_first] = IMPOSSIBLE

    def log_probabilities(self, logits, first=False):
        """`[..., vocabulary_size]` logits to log probabilities."""
        barred = self._first if first else self._always
        return ops.log_softmax(logits + ops.convert_to_tensor(barred), axis=-1)


def _write(tokens, index, token):
    """`tokens` `[..., max_tokens]` with `token` `[...]` put at `index`."""
    here = ops.arange(tokens.shape[-1]) == index
    return ops.where(here, token[..., None], tokens)


def greedy(decoder, encoded, rules, max_tokens):
    """The likeliest token, one after the other.

    Args:
        decoder: `whisper_layers.Decoder`.
        encoded: `[batch, source_time, model_dim]`.
        rules: `Rules`.
        max_tokens: int, static.

    Returns:
        tokens `[batch, max_tokens]` int32 padded with end-of-text, lengths
        `[batch]` int32 and scores `[batch]` float32, the mean log probability
        of the tokens and of the end where it was reached.
    """
    end, prompt_length = rules.end_of_text, len(rules.prompt)
    logits, sources, caches = decoder.start(
        encoded, rules.prompt, prompt_length + max_tokens
    )
    batch = ops.shape(encoded)[0]

    def choose(step, logits, tokens, ended, total, first=False):
        scores = rules.log_probabilities(logits, first)
        token = ops.cast(ops.argmax(scores, axis=-1), "int32")
        total = total + ops.where(ended, 0.0, ops.max(scores, axis=-1))
        token = ops.where(ended, end, token)
        tokens = _write(tokens, step, token)
        return token, tokens, ops.logical_or(ended, token == end), total

    def proceed(step, token, tokens, ended, total, caches):
        return ops.logical_not(ops.all(ended))

    def advance(step, token, tokens, ended, total, caches):
        logits, caches = decoder.step(
            token, prompt_length + step - 1, sources, caches
        )
        token, tokens, ended, total = choose(
            step, logits, tokens, ended, total
        )
        return step + 1, token, tokens, ended, total, caches

    token, tokens, ended, total = choose(
        0,
        logits,
        ops.full((batch, max_tokens), end, dtype="int32"),
        ops.zeros((batch,), dtype="bool"),
        ops.zeros((batch,), dtype="float32"),
        first=True,
    )
    _, _, tokens, ended, total, _ = ops.while_loop(
        proceed,
        advance,
        (ops.convert_to_tensor(1), token, tokens, ended, total, caches),
        maximum_iterations=max_tokens - 1,
    )
    lengths = ops.sum(ops.cast(tokens != end, "int32"), axis=-1)
    scored = lengths + ops.cast(ended, "int32")
    return tokens, lengths, total / ops.cast(scored, "float32")
