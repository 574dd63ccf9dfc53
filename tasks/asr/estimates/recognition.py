"""What it takes to recognise a test set, with and without Submodels."""

from lingvo_like.base_models.whisper import (
    checkpoints,
    decoding,
    frontend,
    model as whisper,
)
from params import bases
from tasks.asr.data import manifest
from tasks.asr.estimates import cost, needs

# A greedy search runs the decoder a token at a time, at a fraction of the speed
# of one large product.
_SEARCH = 2.0
_UNKNOWN_SECONDS = 8.0


def check(
    values: bases.Whisper | bases.ConformerCtc,
    base_path: str,
    test_manifest: str,
    rows: int,
    passes: int = 2,
) -> None:
    """Says what a test set takes, and warns if it does not fit in memory.

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
    lines = manifest.read_lines(test_manifest).utterances
    durations = [each.duration or _UNKNOWN_SECONDS for each in lines]
    if dimensions is None or not durations:
        return
    rate = frontend.SAMPLE_RATE

    def shapes(seconds: float, num_rows: int) -> cost.Shapes:
        samples = whisper.padded_samples(
            round(seconds * rate),
            30 * rate,
            values.audio_context,
            round(whisper.DEFAULT_TAIL_SECONDS * rate),
        )
        # No block above the last one is trained: nothing is kept.
        last = dimensions.num_blocks - 1
        return cost.of_whisper(
            dimensions, num_rows, samples, decoding.STAGES[0], last
        )

    rates = needs.rates()
    mean = shapes(sum(durations) / len(durations), 1).seconds(*rates)
    needs.check(
        shapes(max(durations), rows).num_bytes(),
        passes * len(durations) * _SEARCH * mean,
        lambda _: "A short base or a smaller one takes less",
        check_memory=False,
    )
