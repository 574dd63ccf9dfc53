"""The memory and time of making the short-context form of a Whisper."""

import dataclasses
from collections import abc

from lingvo_like.base_models.whisper import architecture, checkpoints
from params import bases
from tasks.asr.estimates import cost, machine, needs

# Tokens of a text that nobody has written down.
_TOKENS = 64
# The encoder's weights have gradients, too.
_TRAINED = 1.5


def check(
    base_path: str,
    manifests: abc.Iterable[str],
    values: bases.ContextShortening,
    check_memory: bool = True,
    training_seconds: float = 0.0,
) -> None:
    """Prints the estimate, and refuses what does not fit in memory.

    Args:
        training_seconds: of the job that follows, whose estimate is printed;
            0 where there is none.

    Raises:
        ValueError: it does not fit, or a manifest cannot be used.
        OSError: a file cannot be read.
    """
    dimensions, _ = checkpoints.outline(base_path)
    if dimensions is None:
        return
    limit = cost.whisper_limit(dimensions)
    durations = [s for path in manifests for s in cost.durations(path, limit)]
    if not durations:
        return
    step = _step(dimensions, max(durations), values)
    listening = _listening(dimensions)
    # The teacher and the moments of the student's encoder.
    more = 2 * step.parameters * cost.FLOAT_BYTES
    num_seconds = seconds(
        dimensions, durations, values, machine.products_per_second()
    )
    needs.check(
        max(step.num_bytes(), listening.num_bytes()) + more,
        num_seconds,
        "to make the short-context form",
        lambda _: (
            "Fewer utterances a step (--set=utterances_per_step=2), shorter "
            "recordings or a smaller Whisper take less"
        ),
        check_memory,
    )
    if training_seconds:
        total = needs.duration(num_seconds + training_seconds)
        print(f"in all about {total}", flush=True)


def seconds(
    dimensions: architecture.Dimensions,
    durations: abc.Sequence[float],
    values: bases.ContextShortening,
    products_per_second: float,
) -> float:
    """The time of making it.

    Args:
        durations: seconds of each utterance.
    """
    step = _step(dimensions, sum(durations) / len(durations), values)
    # The 30 s model takes about a training step for each utterance: a third of
    # it for the forward pass, and the rest for the greedy search.
    utterances = min(len(durations), values.max_utterances or len(durations))
    return (
        cost.SEARCH_COMPILING_SECONDS
        + utterances * _listening(dimensions).seconds(products_per_second)
        + cost.STEPS_COMPILING_SECONDS
        + values.num_steps * _TRAINED * step.seconds(products_per_second)
    )


def _step(dimensions, longest, values):
    # Minibatches are drawn by length; half of the extra silence on average.
    shapes = cost.of_whisper(
        dimensions,
        values.utterances_per_step,
        longest + values.max_extra_seconds / 2,
        _TOKENS,
        first_block=0,
    )
    # It compares the decoder's states, before there are scores of tokens.
    return dataclasses.replace(shapes, vocabulary=1)


def _listening(dimensions):
    """The Whisper of 30 s on one utterance."""
    return cost.of_whisper(dimensions, 1, 30, _TOKENS, "full", first_block=0)
