"""What a space is for and where it comes from, as checked JSON."""

import dataclasses

from lingvo_like import json_values
from lingvo_like.submodel import layout as submodel_layout

FORMAT_VERSION = 1


class SpaceError(ValueError):
    """A space, or a file of one, is not what it has to be."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a space is for, where it comes from, and its checksum.

    `experiment` and `values` are what it was trained by; `encoder` is empty,
    or holds the speaker encoder's arguments under "config" and the shapes of
    its tensors under "shapes"; `training` sums up how it was trained.
    """

    format_version: int
    base_fingerprint: str
    experiment: str
    values: dict
    model_dim: int
    bottleneck_dim: int
    blocks: tuple[int, ...]
    residual_weight: float
    embedding_dim: int
    normalization: str
    speakers: tuple[str, ...]
    encoder: dict
    base_description: dict
    training: dict
    sha256: str

    @property
    def layout(self):
        return submodel_layout.Layout(
            self.model_dim, self.bottleneck_dim, self.blocks
        )


def plain_json(name, value):
    """A dict as JSON gives it back: string keys, lists for tuples.

    Raises:
        SpaceError: it holds what JSON does not, NaN for instance.
    """
    try:
        return json_values.plain(value or {})
    except (TypeError, ValueError) as error:
        raise SpaceError(f"`{name}` must be JSON: {error}") from None
