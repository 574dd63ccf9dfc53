"""The sizes of a Whisper, and the sites that follow from them."""

import dataclasses

from lingvo_like.base_models import base_model
from lingvo_like.layers import sites, transformer

DECODER = "decoder"


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """The sizes that define a Whisper.

    Attributes:
        num_bins: mel bins of the frontend, 80 or 128.
        num_heads: attention heads of encoder and decoder.
        num_blocks: encoder blocks.
        feed_forward_dim: inner width of the feed-forward networks.
        max_source_positions: encoder frames, 1500 for 30 s.
        max_target_positions: decoder tokens including the prompt, 448.

    Raises:
        ValueError: a size is not a positive integer.
    """

    num_bins: int
    model_dim: int
    num_heads: int
    num_blocks: int
    num_decoder_blocks: int
    feed_forward_dim: int
    vocabulary_size: int
    max_source_positions: int = 1500
    max_target_positions: int = 448

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {value!r}."
                )


def all_sites(dimensions: Dimensions) -> dict[str, sites.Site]:
    """Every site of a Whisper, by name: the encoder's, then the decoder's."""
    found = [
        site
        for stack, num_blocks in (
            (base_model.ENCODER, dimensions.num_blocks),
            (DECODER, dimensions.num_decoder_blocks),
        )
        for block in range(num_blocks)
        for site in transformer.block_sites(
            base_model.block_name(stack, block),
            dimensions.model_dim,
            dimensions.feed_forward_dim,
            has_source=stack == DECODER,
        )
    ]
    return {site.name: site for site in found}
