"""The metadata of a space's file."""

import dataclasses

from lingvo_like import tensor_file
from lingvo_like.space import embedding_space, embeddings
from lingvo_like.submodel import metadata as submodel_metadata

FORMAT_VERSION = 2
EMBEDDINGS = "embeddings"
MEAN_EMBEDDING = "mean_embedding"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata(submodel_metadata.CommonMetadata):
    """The metadata of a space.

    Attributes:
        values: hyperparameters of the experiment that trained it.
        embedding_dim: number of elements in the basis.
        normalization: one of `choices.NORMALIZATIONS`.
        speakers: ids, in the order of the embeddings.
        encoder: empty; or the speaker encoder's arguments under "config" and
            the shapes of its tensors under "shapes".
    """

    values: dict
    embedding_dim: int
    normalization: str
    speakers: tuple[str, ...]
    encoder: dict

    def __post_init__(self) -> None:
        super().__post_init__()
        embeddings.check_normalization(self.normalization)
        if self.embedding_dim < 1 or not self.speakers:
            raise ValueError("a space needs an element and a speaker")
        if len(set(self.speakers)) != len(self.speakers):
            raise ValueError("a speaker appears twice in one space")
        _ = self.tensor_shapes

    @property
    def tensor_shapes(self) -> tensor_file.Shapes:
        """The shape of every tensor, in the order of the checksum."""
        dim = self.embedding_dim
        shapes = {
            embedding_space.BASIS + name: (dim, *shape)
            for name, shape in self.layout.shapes.items()
        }
        shapes[EMBEDDINGS] = (len(self.speakers), dim)
        shapes[MEAN_EMBEDDING] = (dim,)
        encoder = self.encoder.get("shapes", {})
        if not isinstance(encoder, dict) or not all(
            isinstance(shape, list | tuple) for shape in encoder.values()
        ):
            raise ValueError("`encoder`: its shapes must be lists by name")
        for name, shape in sorted(encoder.items()):
            shapes[embedding_space.ENCODER + name] = tuple(shape)
        return shapes
