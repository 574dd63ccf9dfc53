"""What it takes to make the short-context form of a Whisper."""

from collections import abc

from lingvo_like.base_models.whisper import (
    checkpoints,
    encoder_decoder,
    frontend,
)
from params import bases
from tasks.asr.data import manifest
from tasks.asr.estimates import cost, needs

_FLOAT_BYTES = 4
# Tokens of a text that nobody has written down.
_TOKENS = 64
# The encoder's weights have gradients, too.
_TRAINED = 1.5


def need(
    dimensions: encoder_decoder.Dimensions,
    durations: abc.Sequence[float],
    values: bases.ContextShortening,
) -> tuple[cost.Shapes, cost.Shapes]:
    """The shapes of its steps, and of the 30 s Whisper on one utterance.

    Args:
        durations: seconds of each utterance.
    """
    rate = frontend.SAMPLE_RATE
    # Minibatches are drawn by length; half of the extra silence on average.
    longest = max(durations) + values.max_extra_seconds / 2 + 1
    samples = round(min(longest, 30) * rate)
    step = cost.of_whisper(
        dimensions, values.utterances_per_step, samples, _TOKENS, -1
    )
    return step, cost.of_whisper(dimensions, 1, 30 * rate, _TOKENS, -1)


def seconds(
    dimensions: encoder_decoder.Dimensions,
    durations: abc.Sequence[float],
    values: bases.ContextShortening,
    rates: tuple[float, float],
) -> float:
    """The time of making it; see `need`."""
    mean = sum(durations) / len(durations)
    step, _ = need(dimensions, [mean], values)
    _, listening = need(dimensions, durations, values)
    # Its forward pass is a third of a step, and its greedy search the rest.
    utterances = min(len(durations), values.max_utterances or len(durations))
    return values.num_steps * _TRAINED * step.seconds(
        *rates
    ) + utterances * listening.seconds(*rates)


def check(
    base_path: str,
    manifests: abc.Iterable[str],
    values: bases.ContextShortening,
    check_memory: bool = True,
) -> None:
    """Says what it takes, and refuses what does not fit in memory.

    Raises:
        ValueError: it does not fit, or a manifest cannot be used.
        OSError: a file cannot be read.
    """
    dimensions, _ = checkpoints.outline(base_path)
    durations = [
        # An utterance without a length is read later; this is an estimate.
        min(each.duration or 8.0, 30.0)
        for path in manifests
        for each in manifest.read_lines(path).utterances
    ]
    if dimensions is None or not durations:
        return
    step, listening = need(dimensions, durations, values)
    # The teacher and the moments of the student's encoder.
    more = 2 * step.parameters * _FLOAT_BYTES
    needs.check(
        max(step.num_bytes(), listening.num_bytes()) + more,
        seconds(dimensions, durations, values, needs.rates()),
        lambda _: (
            "Fewer utterances a step (--set=utterances_per_step=2), shorter "
            "recordings or a smaller Whisper take less"
        ),
        check_memory,
    )
