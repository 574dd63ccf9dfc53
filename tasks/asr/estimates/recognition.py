"""The memory and time of recognising a test set."""

from lingvo_like.base_models.whisper import checkpoints, decoding
from params import bases
from tasks.asr.estimates import cost, machine, needs

# A greedy search runs the decoder a token at a time, at a fraction of the speed
# of one large product.
_SEARCH = 2.4


def check(
    values: bases.Whisper | bases.ConformerCtc,
    base_path: str,
    test_manifest: str,
    rows: int,
    passes: int = 2,
) -> None:
    """Prints the estimate, and warns if a test set does not fit in memory.

    Nothing is said of a base whose size cannot be told before it is loaded.

    Args:
        values: of the base with the longest audio context.
        rows: utterances of a batch.
        passes: how often each utterance is recognised.

    Raises:
        ValueError, OSError: the manifest or the base cannot be read.
    """
    if isinstance(values, bases.ConformerCtc):
        return
    dimensions, _ = checkpoints.outline(base_path)
    if dimensions is None:
        return
    durations = cost.durations(test_manifest, cost.whisper_limit(dimensions))
    if not durations:
        return
    batch, one = (
        cost.of_whisper(
            dimensions,
            num_rows,
            seconds,
            decoding.STAGES[0],
            values.audio_context,
            # No block is trained: nothing is kept.
            first_block=dimensions.num_blocks,
        )
        for num_rows, seconds in (
            (rows, max(durations)),
            (1, sum(durations) / len(durations)),
        )
    )
    num_seconds = one.products() / machine.products_per_second()
    needs.check(
        batch.num_bytes(),
        cost.SEARCH_COMPILING_SECONDS
        + passes * len(durations) * _SEARCH * num_seconds,
        "to recognise the test set",
        lambda _: "A short base or a smaller one takes less",
        check_memory=False,
    )
