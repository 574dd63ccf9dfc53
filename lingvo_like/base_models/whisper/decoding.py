"""Runs a batched search over a Whisper decoder, in the graph.

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
Sources: TypeAlias = encoder_decoder.Sources
Caches: TypeAlias = encoder_decoder.KeysAndValues
# Tokens, lengths, scores and whether the text ended: see `run`.
Texts: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]

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


class Search(Protocol):
    """A way of choosing tokens, step by step.

    Attributes:
        max_tokens: the most tokens of a text.
        beam_size: the number of texts of each utterance that it continues.
    """

    max_tokens: int
    beam_size: int

    def first(self, logits: Tensor) -> State:
        """The state after the first token, from `[batch, vocabulary_size]`."""
        ...

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

    def result(self, state: State) -> Texts:
        """The texts that were found."""
        ...


def run(
    search: Search,
    decoder: encoder_decoder.SpecialisedDecoder,
    encoded: Tensor,
    prompts: Tensor,
    speakable: Tensor,
) -> Texts:
    """Takes all tokens, stage by stage.

    Args:
        encoded: `[batch, source_time, model_dim]`.
        prompts: `[batch, prompt_length]` int32.
        speakable: `[batch]` int32, of `loops.most_speakable`.

    Returns:
        tokens `[batch, max_tokens]` int32, padded with end-of-text; lengths
        `[batch]` int32; scores `[batch]` float32: the mean log probability of
        the tokens, and of the end where it was reached; and whether it was,
        `[batch]` bool.
    """
    beams, prompt_length = search.beam_size, prompts.shape[1]
    logits, sources, caches = decoder.start(
        encoded,
        prompts,
        prompt_length + min(*STAGES, search.max_tokens),
        project=beams > 1,
    )
    if beams > 1:
        caches = [
            tuple(ops.repeat(part, beams, axis=0) for part in cache)
            for cache in caches
        ]
    stages = _Stages(search, decoder, prompt_length, speakable)
    state = stages.run(0, search.first(logits), sources, caches)
    return search.result(state)


class _Stages:
    """The stages of a search, after the first token."""

    def __init__(
        self,
        search: Search,
        decoder: encoder_decoder.SpecialisedDecoder,
        prompt_length: int,
        speakable: Tensor,
    ) -> None:
        self._search = search
        self._decoder = decoder
        self._prompt_length = prompt_length
        self._speakable = speakable
        shorter = [end for end in STAGES if end < search.max_tokens]
        self._ends = [*shorter, search.max_tokens]

    def run(
        self, number: int, state: State, sources: Sources, caches: Caches
    ) -> State:
        """Runs a stage, and those after it while any text goes on."""
        first, end = [1, *self._ends][number], self._ends[number]
        _, state, caches = ops.while_loop(
            lambda step, state, caches: self._search.unfinished(step, state),
            lambda step, state, caches: self._advance(
                step, state, caches, sources, end
            ),
            (ops.convert_to_tensor(first), state, caches),
            maximum_iterations=end - first,
        )
        if number + 1 == len(self._ends):
            return state

        def go_on() -> State:
            room = self._ends[number + 1] - end
            return self.run(
                number + 1,
                self._search.end_loops(end, state, end, 0),
                # From now on there are tokens enough for keys and values.
                self._decoder.projected(sources),
                encoder_decoder.with_room(caches, room),
            )

        return ops.cond(
            self._search.unfinished(end, state), go_on, lambda: state
        )

    def _advance(
        self,
        step: Tensor,
        state: State,
        caches: Caches,
        sources: Sources,
        end: int,
    ) -> tuple[Tensor, State, Caches]:
        """Takes the tokens at place `step` of a stage that ends at `end`."""
        logits, caches = self._decoder.step(
            state["token"], self._prompt_length + step - 1, sources, caches
        )
        state, rows = self._search.choose(step, logits, state)
        if rows is not None:
            caches = [
                tuple(ops.take(part, rows, axis=0) for part in cache)
                for cache in caches
            ]
        step = step + 1
        state = ops.cond(
            step % loops_lib.CHECK_EVERY == 0,
            lambda: self._search.end_loops(step, state, end, self._speakable),
            lambda: state,
        )
        return step, state, caches
