"""The rules of a search over a Whisper decoder, and batched greedy search.

The scores and rules are OpenAI's (whisper/decoding.py), without timestamps:
suppressed tokens are excluded before the softmax, and the first token is
neither blank nor the end.
"""

from typing import Protocol, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.base_models.whisper import encoder_decoder

Tensor: TypeAlias = tensor_types.Tensor

# The log probability of an excluded token. Finite, so that sums stay ordered
# and free of NaN.
IMPOSSIBLE = -1e9
# Nobody says the same tokens so many times in a row at the end of a text that
# fills all its room.
COPIES = 4


class Tokens(Protocol):
    """The ids that a search needs of a tokenizer."""

    prompt: list[int]
    end_of_text: int
    suppressed: list[int]
    suppressed_first: list[int]


class Rules:
    """Which tokens may come next."""

    def __init__(self, tokenizer: Tokens, vocabulary_size: int) -> None:
        self.prompt = tokenizer.prompt
        self.end_of_text = tokenizer.end_of_text
        self._always = np.zeros(vocabulary_size, "float32")
        self._always[tokenizer.suppressed] = IMPOSSIBLE
        self._first = self._always.copy()
        self._first[tokenizer.suppressed_first] = IMPOSSIBLE

    def log_probabilities(self, logits: Tensor, first: bool = False) -> Tensor:
        """Logits `[..., vocabulary_size]` of a token to log probabilities."""
        excluded = ops.convert_to_tensor(self._first if first else self._always)
        return ops.log_softmax(logits + excluded, axis=-1)


def write(tokens: Tensor, index: Tensor, token: Tensor) -> Tensor:
    """`tokens` `[..., max_tokens]` with `token` `[...]` put at `index`."""
    here = ops.arange(tokens.shape[-1]) == index
    return ops.where(here, token[..., None], tokens)


def greedy(
    decoder: encoder_decoder.Decoder,
    encoded: Tensor,
    rules: Rules,
    max_tokens: int,
    limits: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Takes the likeliest token at each step.

    Args:
        encoded: `[batch, source_time, model_dim]`.
        limits: `[batch]` int32 from 1 to `max_tokens`, the most tokens of each
            row.

    Returns:
        tokens `[batch, max_tokens]` int32, padded with end-of-text, lengths
        `[batch]` int32, and scores `[batch]` float32: the mean log probability
        of the tokens, and of the end where it was reached.
    """
    end, prompt_length = rules.end_of_text, len(rules.prompt)
    logits, sources, caches = decoder.start(
        encoded, rules.prompt, prompt_length + max_tokens
    )
    batch = ops.shape(encoded)[0]

    def choose(step, logits, tokens, ended, total, first=False):
        scores = rules.log_probabilities(logits, first)
        token = ops.cast(ops.argmax(scores, axis=-1), "int32")
        over = ops.logical_or(ended, step >= limits)
        total = total + ops.where(over, 0.0, ops.max(scores, axis=-1))
        token = ops.where(over, end, token)
        tokens = write(tokens, step, token)
        reached = ops.logical_and(token == end, step < limits)
        return token, tokens, ops.logical_or(ended, reached), total

    def proceed(step, token, tokens, ended, total, caches):
        return ops.any(ops.logical_and(~ended, step < limits))

    def advance(step, token, tokens, ended, total, caches):
        logits, caches = decoder.step(
            token, prompt_length + step - 1, sources, caches
        )
        token, tokens, ended, total = choose(step, logits, tokens, ended, total)
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


def without_loops(
    tokens: Tensor, lengths: Tensor, limits: Tensor, end: int
) -> tuple[Tensor, Tensor]:
    """Cuts texts that end in a loop after its first round.

    A Whisper that does not understand the speech may repeat itself until it
    runs out of room. Only a text that fills its room, and that ends with at
    least `COPIES` copies of the same tokens, is cut.

    Args:
        tokens, lengths, limits: those of `greedy`.
        end: the token id of end-of-text.

    Returns:
        tokens and lengths.
    """
    room = tokens.shape[-1]
    kept = lengths
    beyond = ops.arange(room, dtype="int32") >= limits[:, None]
    for period in range(1, room // COPIES + 1):
        same = tokens[:, period:] == tokens[:, :-period]
        same = ops.cast(ops.logical_or(same, beyond[:, period:]), "int32")
        # How many of the last tokens equal those one period before.
        run = ops.sum(ops.cumprod(ops.flip(same, axis=1), axis=1), axis=1)
        run = run - (room - limits)
        is_loop = ops.logical_and(
            lengths == limits, run >= (COPIES - 1) * period
        )
        kept = ops.where(is_loop, ops.minimum(kept, limits - run), kept)
    return ops.where(
        ops.arange(room, dtype="int32") < kept[:, None], tokens, end
    ), kept
