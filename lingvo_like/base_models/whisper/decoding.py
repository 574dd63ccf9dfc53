"""Batched greedy and beam search over a Whisper decoder, in the graph.

The scores and rules are OpenAI's (whisper/decoding.py) without timestamps:
suppressed tokens are struck out before the softmax, the first token is neither
blank nor the end, and beams are ranked by their mean log probability.
"""

import numpy as np
from keras import ops

# Struck out: finite, so that sums of it stay ordered and free of NaN.
IMPOSSIBLE = -1e9
# Of the same tokens in a row, which nobody says at the end of a text that fills
# all the room it has.
COPIES = 4


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


def greedy(decoder, encoded, rules, max_tokens, limits):
    """The likeliest token, one after the other.

    Args:
        decoder: `whisper_layers.Decoder`.
        encoded: `[batch, source_time, model_dim]`.
        rules: `Rules`.
        max_tokens: int, static.
        limits: `[batch]` int32 from 1 to `max_tokens`, of each row's tokens.

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
        over = ops.logical_or(ended, step >= limits)
        total = total + ops.where(over, 0.0, ops.max(scores, axis=-1))
        token = ops.where(over, end, token)
        tokens = _write(tokens, step, token)
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


def without_loops(tokens, lengths, limits, end):
    """Texts that say the same on end, saying it once.

    A Whisper that does not understand may fall into a loop, and leaves it only
    where there is no more room. Only such a text is touched, which fills its
    room, and whose last tokens are `COPIES` times the same or more.

    Args:
        tokens: `[batch, max_tokens]` int32 padded with end-of-text.
        lengths: `[batch]` int32.
        limits: `[batch]` int32, the room that each text had.
        end: int, end-of-text.

    Returns:
        tokens and lengths, cut.
    """
    room = tokens.shape[-1]
    kept = lengths
    beyond = ops.arange(room, dtype="int32") >= limits[:, None]
    for period in range(1, room // COPIES + 1):
        same = tokens[:, period:] == tokens[:, :-period]
        same = ops.cast(ops.logical_or(same, beyond[:, period:]), "int32")
        # How many of the last tokens are those of a period before.
        run = ops.sum(ops.cumprod(ops.flip(same, axis=1), axis=1), axis=1)
        run = run - (room - limits)
        is_loop = ops.logical_and(
            lengths == limits, run >= (COPIES - 1) * period
        )
        kept = ops.where(is_loop, ops.minimum(kept, limits - run), kept)
    return ops.where(
        ops.arange(room, dtype="int32") < kept[:, None], tokens, end
    ), kept


def _mean(total, lengths):
    # OpenAI's ranking: the end counts in the sum and not in the length.
    return total / ops.cast(ops.maximum(lengths, 1), "float32")


class _BeamSearch:
    """One choice of the beam search; beams are an axis after the batch.

    Of the 2 * beams best continuations, those among the first `beams` that
    end the text are hypotheses; the best others live on (there are always
    enough: only one continuation of a beam ends it). An utterance is done
    with `beams` hypotheses, of which only the best is kept.
    """

    def __init__(self, rules, max_tokens, beam_size):
        self.rules = rules
        self.max_tokens = max_tokens
        self.beam_size = beam_size

    def initial(self, batch):
        """Live beams (only the first counts) and no hypothesis."""
        beams, end = self.beam_size, self.rules.end_of_text
        alone = np.full((1, beams), IMPOSSIBLE, "float32")
        alone[0, 0] = 0.0
        tokens = ops.full((batch, beams, self.max_tokens), end, dtype="int32")
        return {
            "tokens": tokens,
            "total": ops.broadcast_to(
                ops.convert_to_tensor(alone), (batch, beams)
            ),
            "best_tokens": tokens[:, 0],
            "best_total": ops.full((batch,), IMPOSSIBLE, dtype="float32"),
            "best_rank": ops.full((batch,), 2 * IMPOSSIBLE, dtype="float32"),
            "count": ops.zeros((batch,), dtype="int32"),
        }

    def done(self, state):
        """`[batch]` bool: enough hypotheses."""
        return state["count"] >= self.beam_size

    def choose(self, step, logits, state, first=False):
        """Continues every beam by one token.

        Args:
            step: int scalar, the token's place.
            logits: `[batch * beams, vocabulary_size]`.
            state: as `initial` returns it.
            first: bool, whether this is the first token.

        Returns:
            the state, and for each live beam its token and the row of the
            caches that it continues, both `[batch * beams]` int32.
        """
        beams, end = self.beam_size, self.rules.end_of_text
        batch, vocabulary_size = ops.shape(state["total"])[0], logits.shape[-1]
        scores = ops.reshape(
            self.rules.log_probabilities(logits, first),
            (batch, beams, vocabulary_size),
        )
        scores = ops.reshape(
            scores + state["total"][..., None], (batch, beams * vocabulary_size)
        )
        total, choice = ops.top_k(scores, 2 * beams)
        choice = ops.cast(choice, "int32")
        parent, token = choice // vocabulary_size, choice % vocabulary_size
        history = ops.take_along_axis(
            state["tokens"], parent[..., None], axis=1
        )
        state = self._harvest(step, total, token, history, state)
        # A stable order by (ended, rank): ended candidates go last.
        rank = ops.arange(2 * beams)[None] + 2 * beams * ops.cast(
            token == end, "int32"
        )
        order = ops.argsort(rank, axis=-1)[:, :beams]
        parent, token, total = (
            ops.take_along_axis(x, order, axis=1)
            for x in (parent, token, total)
        )
        history = ops.take_along_axis(history, order[..., None], axis=1)
        state["tokens"] = _write(history, step, token)
        state["total"] = total
        rows = ops.arange(batch, dtype="int32")[:, None] * beams + parent
        return state, ops.reshape(token, (-1,)), ops.reshape(rows, (-1,))

    def _harvest(self, step, total, token, history, state):
        """Takes the hypotheses among the first `beams` candidates."""
        beams = self.beam_size
        ended = token[:, :beams] == self.rules.end_of_text
        ended = ops.logical_and(ended, total[:, :beams] > 0.5 * IMPOSSIBLE)
        ended = ops.logical_and(
            ended, ops.logical_not(self.done(state))[:, None]
        )
        ranks = ops.where(ended, _mean(total[:, :beams], step), 2 * IMPOSSIBLE)
        best = ops.argmax(ranks, axis=-1)[:, None]
        state = self._keep_better(
            state,
            ops.take_along_axis(ranks, best, axis=1)[:, 0],
            ops.take_along_axis(total, best, axis=1)[:, 0],
            ops.take_along_axis(history, best[..., None], axis=1)[:, 0],
        )
        count = ops.sum(ops.cast(ended, "int32"), axis=-1)
        return {**state, "count": state["count"] + count}

    def _keep_better(self, state, rank, total, tokens):
        better = rank > state["best_rank"]
        return {
            **state,
            "best_rank": ops.where(better, rank, state["best_rank"]),
            "best_total": ops.where(better, total, state["best_total"]),
            "best_tokens": ops.where(
                better[:, None], tokens, state["best_tokens"]
            ),
        }

    def result(self, state):
        """Tokens, lengths and scores; beams cut off compete as they are."""
        end = self.rules.end_of_text
        total = state["total"][:, 0]
        rank = _mean(total, self.max_tokens)
        cut = ops.logical_and(
            ops.logical_not(self.done(state)), rank > state["best_rank"]
        )
        rank = ops.where(cut, rank, 2 * IMPOSSIBLE)
        state = self._keep_better(state, rank, total, state["tokens"][:, 0])
        tokens = state["best_tokens"]
        lengths = ops.sum(ops.cast(tokens != end, "int32"), axis=-1)
        scored = lengths + ops.cast(ops.logical_not(cut), "int32")
        return tokens, lengths, _mean(state["best_total"], scored)


def beam(decoder, encoded, rules, max_tokens, beam_size):
    """Beam search, ranked by mean log probability; otherwise as `greedy`.

    Args:
        decoder: `whisper_layers.Decoder`.
        encoded: `[batch, source_time, model_dim]`.
        rules: `Rules`.
        max_tokens: int, static.
        beam_size: int, beams of an utterance and hypotheses it needs.
    """
    search = _BeamSearch(rules, max_tokens, beam_size)
    prompt_length = len(rules.prompt)
    logits, sources, caches = decoder.start(
        encoded, rules.prompt, prompt_length + max_tokens
    )
    logits = ops.repeat(logits, beam_size, axis=0)
    caches = [
        tuple(ops.repeat(part, beam_size, axis=0) for part in cache)
        for cache in caches
    ]
    state, token, _ = search.choose(
        0, logits, search.initial(ops.shape(encoded)[0]), first=True
    )

    def proceed(step, token, state, caches):
        return ops.logical_not(ops.all(search.done(state)))

    def advance(step, token, state, caches):
        logits, caches = decoder.step(
            token, prompt_length + step - 1, sources, caches
        )
        state, token, rows = search.choose(step, logits, state)
        caches = [
            tuple(ops.take(part, rows, axis=0) for part in cache)
            for cache in caches
        ]
        return step + 1, token, state, caches

    _, _, state, _ = ops.while_loop(
        proceed,
        advance,
        (ops.convert_to_tensor(1), token, state, caches),
        maximum_iterations=max_tokens - 1,
    )
    return search.result(state)
