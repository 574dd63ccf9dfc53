"""Batched beam search over a Whisper decoder, in the graph.

As OpenAI's (whisper/decoding.py), beams are ranked by their mean log
probability.
"""

from typing import TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.base_models.whisper import decoding, loops as loops_lib

IMPOSSIBLE = decoding.IMPOSSIBLE

Tensor: TypeAlias = tensor_types.Tensor
State: TypeAlias = decoding.State


def _mean(total: Tensor, lengths: Tensor) -> Tensor:
    # OpenAI's ranking: the end counts in the sum but not in the length.
    return total / ops.cast(ops.maximum(lengths, 1), "float32")


class BeamSearch:
    """One step of the beam search; the axis of beams follows the batch.

    Of the best `2 * beams` continuations, those among the first `beams` that
    end the text become hypotheses, and the best of the others live on. (There
    are always enough: a beam has only one continuation that ends it.) An
    utterance is done when it has `beams` hypotheses; only the best is kept.
    """

    def __init__(
        self, rules: decoding.Rules, max_tokens: int, beam_size: int
    ) -> None:
        self.rules = rules
        self.max_tokens = max_tokens
        self.beam_size = beam_size

    def first(self, logits: Tensor) -> State:
        """From live beams, of which only the first counts; no hypothesis."""
        beams, end = self.beam_size, self.rules.end_of_text
        batch = ops.shape(logits)[0]
        alone = np.full((1, beams), IMPOSSIBLE, "float32")
        alone[0, 0] = 0.0
        tokens = ops.full((batch, beams, self.max_tokens), end, dtype="int32")
        state = {
            "tokens": tokens,
            "total": ops.broadcast_to(
                ops.convert_to_tensor(alone), (batch, beams)
            ),
            "best_tokens": tokens[:, 0],
            "best_total": ops.full((batch,), IMPOSSIBLE, dtype="float32"),
            "best_rank": ops.full((batch,), 2 * IMPOSSIBLE, dtype="float32"),
            "count": ops.zeros((batch,), dtype="int32"),
            "cut": ops.zeros((batch,), dtype="bool"),
            "token": ops.full((batch * beams,), end, dtype="int32"),
        }
        logits = ops.repeat(logits, beams, axis=0)
        state, _ = self.choose(0, logits, state, first=True)
        return state

    def done(self, state: State) -> Tensor:
        """`[batch]` bool: whether an utterance has hypotheses enough."""
        return state["count"] >= self.beam_size

    def unfinished(self, step: Tensor | int, state: State) -> Tensor:
        """Whether any utterance has too few hypotheses; a bool scalar."""
        del step
        return ops.logical_not(ops.all(self.done(state)))

    def choose(
        self,
        step: Tensor | int,
        logits: Tensor,
        state: State,
        first: bool = False,
    ) -> tuple[State, Tensor]:
        """Continues every beam by the token at place `step`.

        Returns:
            the state, and for each live beam the row of the caches that it
            continues, `[batch * beams]` int32.
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
        # Sorted stably by (ended, rank), so that ended candidates go last.
        rank = ops.arange(2 * beams)[None] + 2 * beams * ops.cast(
            token == end, "int32"
        )
        order = ops.argsort(rank, axis=-1)[:, :beams]
        parent, token, total = (
            ops.take_along_axis(x, order, axis=1)
            for x in (parent, token, total)
        )
        history = ops.take_along_axis(history, order[..., None], axis=1)
        state["tokens"] = decoding.write(history, step, token)
        state["total"] = total
        state["token"] = ops.reshape(token, (-1,))
        rows = ops.arange(batch, dtype="int32")[:, None] * beams + parent
        return state, ops.reshape(rows, (-1,))

    def _harvest(self, step, total, token, history, state) -> State:
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

    def _keep_better(self, state, rank, total, tokens) -> State:
        better = rank > state["best_rank"]
        return {
            **state,
            "best_rank": ops.where(better, rank, state["best_rank"]),
            "best_total": ops.where(better, total, state["best_total"]),
            "best_tokens": ops.where(
                better[:, None], tokens, state["best_tokens"]
            ),
        }

    def end_loops(
        self, step: Tensor | int, state: State, width: int, most: Tensor | int
    ) -> State:
        """Ends the utterances whose best live beam is mostly a loop."""
        loops = loops_lib.mostly_loops(state["tokens"][:, 0, :width], step)
        loops = ops.logical_and(loops, ops.logical_not(self.done(state)))
        loops = ops.logical_and(loops, step > most)
        return self._end(step, loops, state)

    def _end(
        self, step: Tensor | int, utterances: Tensor, state: State
    ) -> State:
        """Ends some utterances; their unfinished beams compete as they are."""
        total = state["total"][:, 0]
        rank = ops.where(utterances, _mean(total, step), 2 * IMPOSSIBLE)
        cut = ops.logical_or(state["cut"], rank > state["best_rank"])
        state = self._keep_better(state, rank, total, state["tokens"][:, 0])
        count = ops.where(utterances, self.beam_size, state["count"])
        return {**state, "count": count, "cut": cut}

    def result(self, state: State) -> decoding.Texts:
        unfinished = ops.logical_not(self.done(state))
        state = self._end(self.max_tokens, unfinished, state)
        tokens, ended = state["best_tokens"], ops.logical_not(state["cut"])
        lengths, scored = decoding.counts(tokens, ended, self.rules.end_of_text)
        return tokens, lengths, _mean(state["best_total"], scored), ended
