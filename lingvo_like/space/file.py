"""A trained space of speaker embeddings, as arrays and as a sealed file.

Training leaves it to enrolment. Its tensors:

    basis/NAME       [embedding_dim, ...]  for each NAME of the layout
    embeddings       [speakers, embedding_dim]
    mean_embedding   [embedding_dim]
    encoder/NAME     the speaker encoder's, where the space has one
"""

import dataclasses
import os
from collections import abc
from typing import Any

import numpy as np

from lingvo_like import files, tensor_file, tensor_types
from lingvo_like.layers import speaker_encoder
from lingvo_like.space import (
    embedding_space,
    embeddings as embeddings_lib,
    encoder as space_encoder,
    metadata as space_metadata,
)
from lingvo_like.submodel import layout as submodel_layout, selection

_FORMAT = tensor_file.Format(
    key="space",
    title="a space",
    version=space_metadata.FORMAT_VERSION,
    metadata_class=space_metadata.Metadata,
    max_file_bytes=1 << 32,
    max_header_bytes=1 << 26,
)


class SpaceError(ValueError):
    """A space, or the file of one, is not as it must be."""


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """A space as arrays, float32 and read-only.

    Attributes:
        tensors: every tensor by its name in a file. `create` and `load` check
            them.
    """

    tensors: dict[str, np.ndarray]
    metadata: space_metadata.Metadata

    @property
    def basis(self) -> dict[str, np.ndarray]:
        """The elements `[embedding_dim, ...]`, by tensor name."""
        return embedding_space.without_prefix(
            embedding_space.BASIS, self.tensors
        )

    @property
    def embeddings(self) -> np.ndarray:
        """`[speakers, embedding_dim]`, before they are normalized."""
        return self.tensors[space_metadata.EMBEDDINGS]

    @property
    def mean_embedding(self) -> np.ndarray:
        """`[embedding_dim]`, where a newcomer may start."""
        return self.tensors[space_metadata.MEAN_EMBEDDING]

    @property
    def encoder(self) -> dict[str, np.ndarray]:
        """The speaker encoder's tensors by name; empty without one."""
        return embedding_space.without_prefix(
            embedding_space.ENCODER, self.tensors
        )

    @property
    def layout(self) -> submodel_layout.Layout:
        return self.metadata.layout

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.metadata.speakers

    @property
    def embedding_dim(self) -> int:
        return self.metadata.embedding_dim

    def embedding(self, speaker: str) -> np.ndarray:
        """A speaker's embedding `[embedding_dim]`; a SpaceError without it."""
        if speaker not in self.speakers:
            raise SpaceError(
                f"speaker {speaker!r} is not among the {len(self.speakers)} "
                "of this space"
            )
        return self.embeddings[self.speakers.index(speaker)]

    def materialise(
        self, embedding: tensor_types.Tensor
    ) -> dict[str, np.ndarray]:
        """The tensors of the Submodel at a point of the space.

        They equal what an `EmbeddingSpace` selects. The embedding
        `[embedding_dim]` is not normalized yet.

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
        selector = embeddings_lib.normalize(
            embedding[None], self.metadata.normalization
        )
        return {
            name: np.array(mixed[0])
            for name, mixed in selection.select(self.basis, selector).items()
        }

    def speaker_encoder(self) -> speaker_encoder.SpeakerEncoder:
        """The encoder trained with the space; a SpaceError if there is none."""
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

    def embedding_space(
        self,
        speakers: abc.Sequence[str],
        constants: submodel_layout.Constants | None = None,
    ) -> embedding_space.EmbeddingSpace:
        """The space with other speakers and a frozen basis, to enrol them.

        All speakers start at the mean, even those of this space: their own
        embeddings may have been trained on the speech that will judge them.
        """
        result = embedding_space.EmbeddingSpace(
            speakers,
            self.layout,
            self.embedding_dim,
            constants,
            self.metadata.normalization,
            basis_trainable=False,
        )
        result.set_embeddings(np.tile(self.mean_embedding, (len(speakers), 1)))
        result.mean_embedding.assign(self.mean_embedding)
        result.set_basis(self.basis)
        return result


def create(
    space: embedding_space.EmbeddingSpace,
    *,
    base_fingerprint: str,
    experiment: str = "",
    values: abc.Mapping[str, Any] | None = None,
    base_description: abc.Mapping[str, Any] | None = None,
    training: abc.Mapping[str, Any] | None = None,
) -> Space:
    """The content of an `EmbeddingSpace`, checked and with its checksum.

    The other arguments are fields of its `Metadata`.

    Raises:
        SpaceError: a value is not finite or not JSON.
    """
    tensors = {k: v.numpy() for k, v in space.variables_by_name.items()}
    embeddings = tensors.pop(embedding_space.EMBEDDING)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    tensors[space_metadata.EMBEDDINGS] = embeddings
    tensors[space_metadata.MEAN_EMBEDDING] = mean
    encoder: dict[str, Any] = {}
    if space.encoder:
        encoder = {"config": space.encoder.config, "shapes": {}}
        for name in space.encoder.variables_by_name:
            key = embedding_space.ENCODER + name
            tensors[key] = tensors[key][0]
            encoder["shapes"][name] = list(tensors[key].shape)
    plain = tensor_file.plain_json
    with tensor_file.errors_as(SpaceError):
        metadata = space_metadata.Metadata(
            format_version=space_metadata.FORMAT_VERSION,
            base_fingerprint=base_fingerprint,
            experiment=experiment,
            values=plain("values", values),
            parts=space.layout.to_json(),
            embedding_dim=space.embedding_dim,
            normalization=space.normalization,
            speakers=space.speakers,
            encoder=plain("encoder", encoder),
            base_description=plain("base_description", base_description),
            training=plain("training", training),
            sha256="",
        )
        tensors = {k: np.array(v, np.float32) for k, v in tensors.items()}
        return Space(*tensor_file.sealed(metadata, tensors))


def without(space: Space, speaker: str) -> Space:
    """The space without a speaker; the mean is that of those who stay.

    The basis and the encoder remain as they are, fitted on the speech of all.

    Raises:
        SpaceError: the speaker is not there, or nobody else is.
    """
    space.embedding(speaker)  # Raises if there is none.
    embeddings = np.delete(
        space.embeddings, space.speakers.index(speaker), axis=0
    )
    tensors = {**space.tensors, space_metadata.EMBEDDINGS: embeddings}
    if len(embeddings):
        mean = embeddings.mean(axis=0, dtype=np.float64)
        tensors[space_metadata.MEAN_EMBEDDING] = mean.astype(np.float32)
    with tensor_file.errors_as(SpaceError):
        metadata = dataclasses.replace(
            space.metadata,
            speakers=tuple(s for s in space.speakers if s != speaker),
        )
        return Space(*tensor_file.sealed(metadata, tensors))


def save(path: str | os.PathLike[str], space: Space) -> None:
    """Writes a space's file, local or `gs://`, whole or not at all.

    Raises:
        SpaceError: it is too large.
        OSError: it cannot be written; an old file stays as it was.
    """
    with tensor_file.errors_as(SpaceError, f"{os.fspath(path)}: "):
        data = _FORMAT.to_bytes(space.metadata, space.tensors)
    files.write_atomically(path, data)


def load(
    path: str | os.PathLike[str], base_fingerprint: str | None = None
) -> Space:
    """Reads a space, which must be for the base model of this fingerprint.

    Raises:
        SpaceError: the file cannot be read, is cut off, altered or of another
            format; a tensor is missing, not expected, of another shape or
            dtype, or not finite; or it is for another base model.
    """
    try:
        data = files.read(path, _FORMAT.max_file_bytes)
    except (OSError, ValueError) as error:
        raise SpaceError(f"cannot load a space: {error}") from None
    with tensor_file.errors_as(SpaceError, f"{os.fspath(path)}: "):
        metadata, header = _FORMAT.parse(data, base_fingerprint)
        tensors = tensor_file.read_tensors(
            data, header, metadata.tensor_shapes, "float32"
        )
        tensor_file.check_seal(metadata, tensors)
        return Space(tensors, metadata)
