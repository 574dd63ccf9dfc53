"""The rules of a search over a Whisper decoder, and batched greedy search.

The scores and rules are OpenAI's (whisper/decoding.py), without timestamps:
suppressed tokens are excluded before the softmax, and the first token is
neither blank nor the end.

A search goes as far as the decoder has positions, in a few stages. Each stage
has caches of one static size, and only a text that is longer than a stage makes
the batch pay for the next. A step's stage depends on the step alone, so a row's
result does not depend on the texts beside it.
"""

from typing import Protocol, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types
from lingvo_like.base_models.whisper import encoder_decoder, loops as loops_lib

Tensor: TypeAlias = tensor_types.Tensor
# Named tensors that a search carries from step to step.
State: TypeAlias = dict[str, Tensor]
Caches: TypeAlias = encoder_decoder.KeysAndValues

# Tokens at the end of each stage but the last. A short command has 10 tokens,
# 20 s of quick speech 100.
STAGES = (64, 192)
# The log probability of an excluded token. Finite, so that sums stay ordered
# and free of NaN.
IMPOSSIBLE = -1e9


class Tokens(Protocol):
    """The ids that a search needs of a tokenizer."""

    end_of_text: int
    suppressed: list[int]
    suppressed_first: list[int]


class Rules:
    """The rules for which tokens may come next."""

    def __init__(self, tokenizer: Tokens, vocabulary_size: int) -> None:
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


class Search(Protocol):
    """A way of choosing tokens, step by step."""

    def unfinished(self, step: Tensor | int, state: State) -> Tensor:
        """Whether any row takes the token at place `step`; a bool scalar."""
        ...

    def choose(
        self, step: Tensor | int, logits: Tensor, state: State
    ) -> tuple[State, Tensor | None]:
        """Takes the tokens at place `step`.

        Returns:
            the state, with the tokens to continue from as `token`; and the
            rows of the caches that they continue, or None for their own.
        """
        ...

    def end_loops(
        self, step: Tensor | int, state: State, width: int, most: Tensor | int
    ) -> State:
        """Ends rows whose `step` tokens are mostly a loop.

        Args:
            width: at least `step`, and static.
            most: `[batch]` int32 or one for all, the tokens beyond which rows
                end.
        """
        ...


def run(
    search: Search,
    decoder: encoder_decoder.SpecialisedDecoder,
    prompt_length: int,
    max_tokens: int,
    speakable: Tensor,
    state: State,
    sources: encoder_decoder.Sources,
    caches: Caches,
) -> State:
    """Takes all tokens after the first, stage by stage.

    Args:
        speakable: `[batch]` int32, of `loops.most_speakable`.
        state: of the search, with the first token.
        sources, caches: from `Decoder.start`, for the length of the first
            stage.
    """
    ends = [*(end for end in STAGES if end < max_tokens), max_tokens]

    def proceed(step: Tensor, state: State, caches: Caches) -> Tensor:
        return search.unfinished(step, state)

    def stage(
        number: int,
        state: State,
        sources: encoder_decoder.Sources,
        caches: Caches,
    ) -> State:
        first, end = ([1, *ends][number], ends[number])

        def advance(
            step: Tensor, state: State, caches: Caches
        ) -> tuple[Tensor, State, Caches]:
            logits, caches = decoder.step(
                state["token"], prompt_length + step - 1, sources, caches
            )
            state, rows = search.choose(step, logits, state)
            if rows is not None:
                caches = [
                    tuple(ops.take(part, rows, axis=0) for part in cache)
                    for cache in caches
                ]
            step = step + 1
            state = ops.cond(
                step % loops_lib.CHECK_EVERY == 0,
                lambda: search.end_loops(step, state, end, speakable),
                lambda: state,
            )
            return step, state, caches

        _, state, caches = ops.while_loop(
            proceed,
            advance,
            (ops.convert_to_tensor(first), state, caches),
            maximum_iterations=end - first,
        )
        if number + 1 == len(ends):
            return state

        def go_on() -> State:
            room = ends[number + 1] - end
            return stage(
                number + 1,
                search.end_loops(end, state, end, 0),
                # From now on there are tokens enough for keys and values.
                decoder.projected(sources),
                encoder_decoder.with_room(caches, room),
            )

        return ops.cond(search.unfinished(end, state), go_on, lambda: state)

    return stage(0, state, sources, caches)


def first_stage(max_tokens: int) -> int:
    """The tokens that the caches of the first stage have room for."""
    return min(*STAGES, max_tokens)


class _Greedy:
    """Takes the likeliest token at each step."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self, limits: Tensor, max_tokens: int) -> State:
        batch, end = ops.shape(limits)[0], self.rules.end_of_text
        return {
            "token": ops.full((batch,), end, dtype="int32"),
            "tokens": ops.full((batch, max_tokens), end, dtype="int32"),
            "ended": ops.zeros((batch,), dtype="bool"),
            "total": ops.zeros((batch,), dtype="float32"),
            "limits": limits,
        }

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
            "tokens": write(state["tokens"], step, token),
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


def greedy(
    decoder: encoder_decoder.SpecialisedDecoder,
    encoded: Tensor,
    prompts: Tensor,
    rules: Rules,
    max_tokens: int,
    limits: Tensor,
    speakable: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Takes the likeliest token at each step.

    Args:
        encoded: `[batch, source_time, model_dim]`.
        prompts: `[batch, prompt_length]` int32.
        limits: `[batch]` int32 from 1 to `max_tokens`, the most tokens of each
            row.
        speakable: `[batch]` int32, of `loops.most_speakable`.

    Returns:
        tokens `[batch, max_tokens]` int32, padded with end-of-text; lengths
        `[batch]` int32; scores `[batch]` float32: the mean log probability of
        the tokens, and of the end where it was reached; and whether it was,
        `[batch]` bool.
    """
    prompt_length = prompts.shape[1]
    logits, sources, caches = decoder.start(
        encoded,
        prompts,
        prompt_length + first_stage(max_tokens),
        project=False,
    )
    search = _Greedy(rules)
    state, _ = search.choose(
        0, logits, search.initial(limits, max_tokens), first=True
    )
    state = run(
        search,
        decoder,
        prompt_length,
        max_tokens,
        speakable,
        state,
        sources,
        caches,
    )
    ended, tokens = state["ended"], state["tokens"]
    lengths, scored = counts(tokens, ended, rules.end_of_text)
    return tokens, lengths, state["total"] / ops.cast(scored, "float32"), ended


def counts(tokens: Tensor, ended: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """The lengths of texts, and how many tokens of each have a score.

    Args:
        tokens: `[batch, max_tokens]` int32, padded with `end`.
        ended: `[batch]` bool, whether the search reached the end.
        end: the token id of end-of-text, which has a score where it was
            reached.
    """
    lengths = ops.sum(ops.cast(tokens != end, "int32"), axis=-1)
    return lengths, lengths + ops.cast(ended, "int32")
