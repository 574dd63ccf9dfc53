"""The memory and time of a training step, from its shapes.

The counts are of floats that a step keeps for its gradients, of those that
come and go at its peak, and of its arithmetic. The factors beside them were
fitted to measured steps on a CPU; README.md says how near they come.
"""

import dataclasses
import math

from lingvo_like.base_models.whisper import (
    architecture,
    audio_context as contexts,
    frontend,
)
from params import bases
from tasks.asr.data import manifest

# Of an utterance whose manifest does not say how long it is.
UNKNOWN_SECONDS = 8.0

FLOAT_BYTES = 4
# A program that has imported everything and loaded nothing.
PROGRAM_BYTES = 700 * 2**20
# The file, its floats and the variables are in memory together.
_COPIES_WHILE_LOADING = 2.5
# Variables, and what products keep of them in another layout.
_COPIES = 1.5
# Of the width of the model and of the feed-forward network, what a block keeps
# of each frame for its gradients.
_KEPT_WIDTHS = 10.0
_KEPT_INNERS = 2.0
# Of the scores of a vocabulary: the scores, their softmax, its gradient.
_VOCABULARY_COPIES = 3.0
# A step's time, of that of its products alone.
_OTHER_WORK = 1.2
# The softmax of the vocabulary and its gradient wait for memory: for each score
# they take the time of so many products.
_SCORE_PRODUCTS = 2700.0
# The time of a step's many small operations.
_STEP_SECONDS = 0.25
# The time of compiling the steps of a job, or one search.
STEPS_COMPILING_SECONDS = 40.0
SEARCH_COMPILING_SECONDS = 15.0


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The sizes that decide what a step costs.

    Attributes:
        rows: utterances of a step.
        samples, frames: of an utterance; encoder frames.
        width, heads, inner: of a block; `inner` is of all its feed-forward
            networks together.
        trained_blocks: those that a Submodel changes, or that come after it.
        front: floats of an utterance that come and go before the blocks.
        kept_weights, passing_weights: matrices `[heads, frames, frames]` that a
            block keeps, and those that come and go.
        tokens: of a transcript, with the prompt.
    """

    rows: int
    samples: int
    frames: int
    width: int
    heads: int
    inner: int
    blocks: int
    trained_blocks: int
    parameters: int
    front: int
    kept_weights: float = 1.0
    passing_weights: float = 3.0
    tokens: int = 1
    vocabulary: int = 1
    decoder_blocks: int = 0

    @property
    def _attention(self) -> int:
        return self.heads * self.frames**2

    def num_bytes(self) -> float:
        """Memory at the peak of a training step, with the program's own."""
        block = (
            self.kept_weights * self._attention
            + _KEPT_WIDTHS * self.frames * self.width
            + _KEPT_INNERS * self.frames * self.inner
        )
        passing = max(self.passing_weights * self._attention, self.front)
        floats = self.trained_blocks * block + passing + self._decoder_floats()
        weights = self.parameters * FLOAT_BYTES
        return PROGRAM_BYTES + max(
            weights * _COPIES_WHILE_LOADING,
            weights * _COPIES + self.rows * floats * FLOAT_BYTES,
        )

    def seconds(self, products_per_second: float) -> float:
        """Of a training step, on a machine of this rate."""
        scores = self.rows * self.tokens * self.vocabulary
        products = _OTHER_WORK * self.products() + _SCORE_PRODUCTS * scores
        return _STEP_SECONDS + products / products_per_second

    def _decoder_floats(self):
        block = (
            2 * self.frames * self.width
            + 2 * self.heads * self.tokens * self.frames
            + _KEPT_WIDTHS * self.tokens * self.width
            + _KEPT_INNERS * self.tokens * self.inner
        )
        scores = _VOCABULARY_COPIES * self.tokens * self.vocabulary
        return self.decoder_blocks * block + scores

    def products(self) -> float:
        """Multiplications and additions of a step, forward and backward.

        The frozen weights need no gradients, so a product's way back costs what
        its way forward did, and that of attention twice as much.
        """
        width, frames, tokens = self.width, self.frames, self.tokens
        dense = 8 * frames * width**2 + 4 * frames * width * self.inner
        attention = 4 * frames**2 * width
        encoder = self.blocks * (dense + attention)
        encoder += self.trained_blocks * (dense + 2 * attention)
        own = 12 * tokens * width**2 + 4 * tokens * width * self.inner
        source = 4 * frames * width**2
        across = 4 * tokens * (frames + tokens) * width
        decoder = self.decoder_blocks * (2 * own + 2 * source + 3 * across)
        decoder += 4 * tokens * width * self.vocabulary
        return self.rows * (encoder + decoder)


def durations(path: str, limit: float = math.inf) -> list[float]:
    """Seconds of each utterance of a manifest, by its lines alone.

    Args:
        limit: seconds; utterances that are longer are left out.

    Raises:
        ValueError, OSError: the manifest cannot be read.
    """
    lines = manifest.read_lines(path).utterances
    seconds = (each.duration or UNKNOWN_SECONDS for each in lines)
    return [each for each in seconds if each <= limit]


def whisper_limit(dimensions: architecture.Dimensions) -> float:
    """Seconds of the longest utterance that a Whisper takes."""
    samples = 2 * frontend.STEP_SAMPLES * dimensions.max_source_positions
    return samples / frontend.SAMPLE_RATE


def of_whisper(
    dimensions: architecture.Dimensions,
    rows: int,
    seconds: float,
    tokens: int,
    audio_context: str = "short",
    first_block: int = 1,
) -> Shapes:
    """The shapes of a step on a Whisper.

    Args:
        seconds: of the longest utterance.
        tokens: the static length of transcripts, without the prompt.
        first_block: the first encoder block that a Submodel changes.
    """
    d, inner = dimensions.model_dim, dimensions.feed_forward_dim
    rate = frontend.SAMPLE_RATE
    samples = contexts.padded_samples(
        round(seconds * rate),
        30 * rate,
        audio_context,
        round(contexts.DEFAULT_TAIL_SECONDS * rate),
    )
    frames = samples // (2 * frontend.STEP_SAMPLES)
    encoder = dimensions.num_blocks * (4 * d**2 + 2 * d * inner)
    decoder = dimensions.num_decoder_blocks * (8 * d**2 + 2 * d * inner)
    positions = dimensions.max_source_positions
    tables = (dimensions.vocabulary_size + positions) * d
    convolutions = 3 * d * (dimensions.num_bins + d)
    return Shapes(
        rows=rows,
        samples=samples,
        frames=frames,
        width=d,
        heads=dimensions.num_heads,
        inner=inner,
        blocks=dimensions.num_blocks,
        trained_blocks=max(0, dimensions.num_blocks - first_block),
        parameters=encoder + decoder + tables + convolutions,
        front=2 * frames * (2 * d + 4 * dimensions.num_bins),
        # The longest prompt has four tokens.
        tokens=tokens + 4,
        vocabulary=dimensions.vocabulary_size,
        decoder_blocks=dimensions.num_decoder_blocks,
    )


def of_conformer(
    values: bases.ConformerCtc,
    rows: int,
    seconds: float,
    first_block: int = 1,
) -> Shapes:
    """The shapes of a step on a Conformer; see `of_whisper`."""
    d, expansion = values.model_dim, values.feed_forward_expansion
    buckets = values.buckets_seconds
    bucket = next((b for b in buckets if b >= seconds), max(buckets))
    # Two convolutions of stride 2 over time and bins.
    frames = int(1000 * bucket / values.frame_step_ms / 4) + 1
    block = (4 + 4 * expansion + 5) * d**2
    return Shapes(
        rows=rows,
        samples=round(bucket * values.sample_rate),
        frames=frames,
        width=d,
        heads=values.num_heads,
        inner=2 * expansion * d,
        blocks=values.num_blocks,
        trained_blocks=max(0, values.num_blocks - first_block),
        parameters=values.num_blocks * block
        + 9 * d**2
        + values.num_bins * d**2,
        front=2 * frames * (values.num_bins // 2) * d * 2,
        # Scores by content and by distance.
        kept_weights=2.0,
        passing_weights=4.0,
    )
