"""Batched greedy search over a Whisper decoder, in the graph."""

from typing import TypeAlias

from keras import ops

from lingvo_like import tensor_types
from lingvo_like.base_models.whisper import decoding, loops as loops_lib

Tensor: TypeAlias = tensor_types.Tensor
State: TypeAlias = decoding.State


class GreedySearch:
    """Takes the likeliest token at each step.

    Args:
        limits: `[batch]` int32 from 1 to `max_tokens`, the most tokens of each
            row.
    """

    beam_size = 1

    def __init__(
        self, rules: decoding.Rules, max_tokens: int, limits: Tensor
    ) -> None:
        self.rules = rules
        self.max_tokens = max_tokens
        self.limits = limits

    def first(self, logits: Tensor) -> State:
        batch, end = ops.shape(logits)[0], self.rules.end_of_text
        state = {
            "token": ops.full((batch,), end, dtype="int32"),
            "tokens": ops.full((batch, self.max_tokens), end, dtype="int32"),
            "ended": ops.zeros((batch,), dtype="bool"),
            "total": ops.zeros((batch,), dtype="float32"),
            "limits": self.limits,
        }
        state, _ = self.choose(0, logits, state, first=True)
        return state

    def unfinished(self, step: Tensor | int, state: State) -> Tensor:
        return ops.any(self._goes_on(step, state))

    def _goes_on(self, step, state):
        return ops.logical_and(
            ops.logical_not(state["ended"]), step < state["limits"]
        )

    def choose(
        self,
        step: Tensor | int,
        logits: Tensor,
        state: State,
        first: bool = False,
    ) -> tuple[State, None]:
        end, goes_on = self.rules.end_of_text, self._goes_on(step, state)
        scores = self.rules.log_probabilities(logits, first)
        token = ops.cast(ops.argmax(scores, axis=-1), "int32")
        token = ops.where(goes_on, token, end)
        score = ops.where(goes_on, ops.max(scores, axis=-1), 0.0)
        reached = ops.logical_and(goes_on, token == end)
        return {
            "token": token,
            "tokens": decoding.write(state["tokens"], step, token),
            "ended": ops.logical_or(state["ended"], reached),
            "total": state["total"] + score,
            "limits": state["limits"],
        }, None

    def end_loops(
        self, step: Tensor | int, state: State, width: int, most: Tensor | int
    ) -> State:
        loops = loops_lib.mostly_loops(state["tokens"][:, :width], step)
        loops = ops.logical_and(loops, self._goes_on(step, state))
        loops = ops.logical_and(loops, step > most)
        return {**state, "limits": ops.where(loops, step, state["limits"])}

    def result(self, state: State) -> decoding.Texts:
        ended, tokens = state["ended"], state["tokens"]
        end = self.rules.end_of_text
        lengths, scored = decoding.counts(tokens, ended, end)
        scores = state["total"] / ops.cast(scored, "float32")
        return tokens, lengths, scores, ended
