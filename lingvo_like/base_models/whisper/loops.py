"""Loops: a Whisper that does not understand the speech repeats itself.

A loop is at the end of a text: at least `COPIES` copies of the same tokens. A
search ends a text for it if it is at least `SHARE` of the text. It looks for it
at the end of a stage and, in a text that is longer than speech of its length
could be, after every `CHECK_EVERY` tokens. What somebody could have said again
and again is left alone until the end of a stage.
"""

from typing import TypeAlias

import numpy as np
from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor

# Nobody says the same tokens so many times in a row at the end of a text that
# fills all its room.
COPIES = 4
# A loop ends a text if it is at least so much of it.
SHARE = 0.5
# The most tokens that somebody could have said: some for any speech, and some
# for each second of it. Fast English has 5 tokens a second, and what is spelt
# in bytes three times as many.
TOKENS_OF_SPEECH, TOKENS_PER_SECOND = 16, 16
# Loops are looked for after every so many tokens.
CHECK_EVERY = 8


def _loops(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens in a row with which each text repeats itself, by period.

    Returns:
        the periods, `[periods]`, and the number of last tokens that equal
        those one period before, `[batch, periods]`; 0 where there are fewer
        than `COPIES` copies.
    """
    room = tokens.shape[-1]
    places = np.arange(room)
    periods = np.arange(1, max(room // COPIES, 1) + 1, dtype="int32")
    before = places[None] - periods[:, None]
    same = tokens[:, None] == ops.take(tokens, np.maximum(before, 0), axis=1)
    same = ops.logical_and(same, ops.convert_to_tensor(before >= 0))
    beyond = ops.convert_to_tensor(places, "int32") >= lengths[:, None]
    same = ops.cast(ops.logical_or(same, beyond[:, None]), "int32")
    repeated = ops.sum(ops.cumprod(ops.flip(same, axis=2), axis=2), axis=2)
    repeated = repeated - (room - lengths[:, None])
    periods = ops.convert_to_tensor(periods)
    is_loop = repeated >= (COPIES - 1) * periods
    return periods, ops.where(is_loop, repeated, 0)


def most_speakable(seconds: Tensor) -> Tensor:
    """The most tokens that speech of so many seconds may have, int32."""
    return TOKENS_OF_SPEECH + ops.cast(
        ops.ceil(TOKENS_PER_SECOND * ops.cast(seconds, "float32")), "int32"
    )


def mostly_loops(tokens: Tensor, length: Tensor | int) -> Tensor:
    """Whether a loop at its end is most of a text: `[batch]` bool.

    Args:
        tokens: `[batch, room]` int32.
        length: of every text; what comes after it may be anything.
    """
    lengths = ops.full((ops.shape(tokens)[0],), length, dtype="int32")
    periods, repeated = _loops(tokens, lengths)
    copied = ops.where(repeated > 0, repeated + periods, 0)
    share = ops.cast(ops.max(copied, axis=1), "float32")
    return share >= SHARE * ops.cast(lengths, "float32")


def without_loops(
    tokens: Tensor, lengths: Tensor, ended: Tensor, end: int
) -> tuple[Tensor, Tensor]:
    """Cuts texts that end in a loop after its first round.

    A Whisper that does not understand the speech may repeat itself until it
    runs out of room. Only a text without an end of its own, and whose last
    tokens are at least `COPIES` copies of the same ones, is cut.

    Args:
        tokens, lengths, ended: those of `greedy`.
        end: the token id of end-of-text.

    Returns:
        tokens and lengths.
    """
    _, repeated = _loops(tokens, lengths)
    kept = lengths - ops.max(repeated, axis=1)
    kept = ops.where(ended, lengths, kept)
    places = ops.arange(tokens.shape[-1], dtype="int32")
    return ops.where(places < kept[:, None], tokens, end), kept
