"""A speaker-embedding space as arrays: what training leaves to enrolment.

Its SHA-256 covers every metadata field and every tensor. Tensors:

    basis/NAME       [embedding_dim, ...]  for each NAME of the layout
    embeddings       [speakers, embedding_dim]
    mean_embedding   [embedding_dim]
    encoder/NAME     the speaker encoder's, where the space has one
"""

import dataclasses

import numpy as np

from lingvo_like import hyperparams, tensor_file
from lingvo_like.space import embedding_space
from lingvo_like.space import embeddings as embeddings_lib
from lingvo_like.space import encoder as space_encoder
from lingvo_like.space import metadata as space_metadata

# The whole vocabulary of spaces under one name.
Metadata = space_metadata.Metadata
SpaceError = space_metadata.SpaceError

_BASIS = embedding_space.BASIS
_ENCODER = embedding_space.ENCODER


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """A space as arrays, float32 and read-only.

    Attributes:
        basis: dict of tensor name to `[embedding_dim, ...]`.
        embeddings: `[speakers, embedding_dim]`, before they are normalised.
        mean_embedding: `[embedding_dim]`, where a newcomer may start.
        encoder: dict of name to the speaker encoder's tensor; may be empty.
        metadata: `Metadata`.
    """

    basis: dict[str, np.ndarray]
    embeddings: np.ndarray
    mean_embedding: np.ndarray
    encoder: dict[str, np.ndarray]
    metadata: Metadata

    @property
    def tensors(self):
        """Every tensor, by its name in a file."""
        return {
            **{_BASIS + name: value for name, value in self.basis.items()},
            "embeddings": self.embeddings,
            "mean_embedding": self.mean_embedding,
            **{_ENCODER + name: value for name, value in self.encoder.items()},
        }

    @property
    def layout(self):
        return self.metadata.layout

    @property
    def speakers(self):
        return self.metadata.speakers

    @property
    def embedding_dim(self):
        return self.metadata.embedding_dim

    def embedding(self, speaker):
        """A speaker's embedding `[embedding_dim]`.

        Raises:
            SpaceError: the space has no such speaker.
        """
        if speaker not in self.speakers:
            raise SpaceError(
                f"speaker {speaker!r} is not among the {len(self.speakers)} "
                "of this space"
            )
        return self.embeddings[self.speakers.index(speaker)]

    def materialise(self, embedding):
        """The Submodel at a point of the space.

        Args:
            embedding: `[embedding_dim]` float32, before it is normalised.

        Returns:
            dict of tensor name to a float32 array, as the layout says; equal
            to what `EmbeddingSpace` mixes.

        Raises:
            SpaceError: the embedding has another shape or is not finite.
        """
        embedding = np.asarray(embedding, np.float32)
        if embedding.shape != (self.embedding_dim,):
            raise SpaceError(
                f"an embedding must be [{self.embedding_dim}]. Received: "
                f"{list(embedding.shape)}."
            )
        if not np.all(np.isfinite(embedding)):
            raise SpaceError("an embedding must be finite")
        weights = embeddings_lib.normalize(
            embedding[None], self.metadata.normalization
        )
        return {
            name: np.array(embeddings_lib.mix(weights, elements)[0])
            for name, elements in self.basis.items()
        }

    def speaker_encoder(self):
        """The `SpeakerEncoder` that was trained with the space.

        Raises:
            SpaceError: there is none.
        """
        if not self.encoder:
            raise SpaceError(
                "this space has no speaker encoder; train one with "
                "space.speaker_encoder=true"
            )
        try:
            return space_encoder.restored(
                self.metadata.encoder["config"], self.encoder
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpaceError(f"the speaker encoder: {error}") from None

    def embedding_space(self, speakers):
        """The space with other speakers, its basis frozen, to enrol them.

        Args:
            speakers: ids. All start at the mean, those of this space too:
                their own embedding heard what they may be judged by.

        Returns:
            `EmbeddingSpace`.
        """
        values = self.metadata
        result = embedding_space.EmbeddingSpace(
            speakers,
            self.layout,
            self.embedding_dim,
            values.residual_weight,
            values.normalization,
            basis_trainable=False,
        )
        result.set_embeddings(np.tile(self.mean_embedding, (len(speakers), 1)))
        result.mean_embedding.assign(self.mean_embedding)
        result.set_basis(self.basis)
        return result


def create(
    space,
    *,
    base_fingerprint,
    experiment="",
    values=None,
    base_description=None,
    training=None,
):
    """The content of an `EmbeddingSpace`, checked and with its checksum.

    Args:
        space: `EmbeddingSpace`.
        base_fingerprint: string, of the base model that it is for.
        experiment: string, the registered name.
        values: dict, the experiment's values.
        base_description: JSON-able dict, frontend and tokenizer of the base.
        training: JSON-able dict, a summary.

    Raises:
        SpaceError: anything is not finite or not JSON.
    """
    layout = space.layout
    embeddings = space.embeddings.numpy()
    encoder, encoder_metadata = {}, {}
    if space.encoder:
        encoder = {
            name: variable.numpy()[0]
            for name, variable in space.encoder.variables_by_name.items()
        }
        encoder_metadata = {
            "config": space.encoder.config,
            "shapes": {k: list(value.shape) for k, value in encoder.items()},
        }
    metadata = Metadata(
        format_version=space_metadata.FORMAT_VERSION,
        base_fingerprint=base_fingerprint,
        experiment=experiment,
        values=space_metadata.plain_json("values", values),
        model_dim=layout.model_dim,
        bottleneck_dim=layout.bottleneck_dim,
        blocks=layout.blocks,
        residual_weight=float(space.residual_weight),
        embedding_dim=space.embedding_dim,
        normalization=space.normalization,
        speakers=space.speakers,
        encoder=space_metadata.plain_json("encoder", encoder_metadata),
        base_description=space_metadata.plain_json(
            "base_description", base_description
        ),
        training=space_metadata.plain_json("training", training),
        sha256="",
    )
    tensors = {
        _BASIS + name: variable.numpy()
        for name, variable in space.basis.variables_by_name.items()
    }
    tensors |= {
        "embeddings": embeddings,
        "mean_embedding": embeddings.mean(axis=0, dtype=np.float64),
    }
    tensors |= {_ENCODER + name: value for name, value in encoder.items()}
    return sealed(
        metadata, {k: np.array(v, np.float32) for k, v in tensors.items()}
    )


def _shapes(metadata):
    """The shape of every tensor, in the order of the checksum."""
    dim = metadata.embedding_dim
    shapes = {
        _BASIS + name: (dim, *shape)
        for name, shape in metadata.layout.shapes.items()
    }
    shapes["embeddings"] = (len(metadata.speakers), dim)
    shapes["mean_embedding"] = (dim,)
    encoder = metadata.encoder.get("shapes", {})
    if not isinstance(encoder, dict) or not all(
        isinstance(shape, (list, tuple)) for shape in encoder.values()
    ):
        raise SpaceError("`encoder`: its shapes must be lists by name")
    for name, shape in sorted(encoder.items()):
        shapes[_ENCODER + name] = tuple(shape)
    return shapes


def check_names(metadata, names):
    """Raises a SpaceError unless `names` are exactly the space's tensors."""
    shapes = _shapes(metadata)
    for name in shapes:
        if name not in names:
            raise SpaceError(f"the tensor {name} is missing")
    for name in names:
        if name not in shapes:
            raise SpaceError(f"the tensor {name!r} is not expected")


def sealed(metadata, tensors):
    """A checked `Space` with the checksum of its content.

    Args:
        metadata: `Metadata`, whatever its checksum.
        tensors: dict of name to float32 array, all of them and no other.

    Raises:
        SpaceError: says which field or tensor is not as it has to be.
    """
    try:
        embeddings_lib.check_normalization(metadata.normalization)
    except ValueError as error:
        raise SpaceError(str(error)) from None
    if not metadata.base_fingerprint:
        raise SpaceError("`base_fingerprint` must not be empty")
    if metadata.embedding_dim < 1 or not metadata.speakers:
        raise SpaceError("a space needs an element and a speaker")
    if len(set(metadata.speakers)) != len(metadata.speakers):
        raise SpaceError("a speaker appears twice in one space")
    check_names(metadata, tensors)
    for name, shape in _shapes(metadata).items():
        _check_tensor(name, tensors[name], shape)
        tensors[name].setflags(write=False)
    basis, encoder = (
        {
            name.removeprefix(prefix): tensors[name]
            for name in _shapes(metadata)
            if name.startswith(prefix)
        }
        for prefix in (_BASIS, _ENCODER)
    )
    return Space(
        basis,
        tensors["embeddings"],
        tensors["mean_embedding"],
        encoder,
        dataclasses.replace(metadata, sha256=_checksum(metadata, tensors)),
    )


def _check_tensor(name, tensor, shape):
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise SpaceError(
            f"{name}: must be float32 {list(shape)}. Received: "
            f"{tensor.dtype} {list(tensor.shape)}."
        )
    if not np.all(np.isfinite(tensor)):
        raise SpaceError(
            f"{name}: {np.sum(~np.isfinite(tensor))} of {tensor.size} values "
            "are not finite"
        )


def _checksum(metadata, tensors):
    """SHA-256, in hex, of all metadata but itself and of all tensors."""
    fields = hyperparams.to_dict(metadata)
    del fields["sha256"]
    names = _shapes(metadata)
    return tensor_file.sha256(fields, {name: tensors[name] for name in names})
