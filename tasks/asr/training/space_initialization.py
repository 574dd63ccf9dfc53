"""The starting point of a space, which a resumed run does not compute again."""

import posixpath
import typing
from collections import abc

import numpy as np
import tensorflow as tf

from lingvo_like.space import (
    embedding_space,
    encoder as space_encoder,
    file as space_file,
)
from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
)
from tasks.asr.batches import padded_audio
from tasks.asr.data import preparation
from tasks.asr.training import model_directory, task as task_lib

# Utterances of each speaker that the encoder hears before training.
UTTERANCES = 4

SpeakersBySlot = abc.Mapping[int, preparation.SpeakerUtterances]


def initialize(
    task: task_lib.SubmodelTask,
    data: SpeakersBySlot,
    base_fingerprint: str,
    space_from: str = "",
) -> str:
    """Puts a new space where its experiment wants it to start.

    Args:
        task: of a space, as it was made.
        space_from: the run to start from, of slots or of a space; "" for none.

    Returns:
        A line that says where the space starts.

    Raises:
        ValueError: the run holds no Submodels or no space, or they do not fit
            this task.
    """
    space = typing.cast(embedding_space.EmbeddingSpace, task.stack)
    values = task.experiment.space
    if values.initializer == "space":
        return _continue_space(task, space, data, base_fingerprint, space_from)
    if space.encoder:
        heard = listen(task, space.encoder, data)
        space.encoder.adapt(heard)
        if values.initializer == "encoder":
            space.encoder.spread(
                predict(space.encoder, heard),
                values.initial_scale / np.sqrt(space.embedding_dim),
            )
            space.set_embeddings(predict(space.encoder, heard))
            return "embeddings start where the speaker encoder puts them"
    if values.initializer == "stack":
        vectors = load_submodels(space_from, base_fingerprint, space)
        share = from_submodels(space, vectors)
        return (
            f"basis starts from {space_from}: {space.embedding_dim} "
            f"directions hold {100 * share:.1f} % of its Submodels"
        )
    return "basis and embeddings start from noise"


def _continue_space(task, space, data, base_fingerprint, space_from):
    path = model_directory.ModelDirectory(space_from).space
    stored = space_file.load(path, base_fingerprint)
    known, where = from_space(space, stored), "at its mean"
    newcomers = [
        slot
        for slot, speaker in enumerate(space.speakers)
        if speaker not in stored.speakers
    ]
    if space.encoder and newcomers:
        heard = listen(task, space.encoder, data, newcomers)
        embeddings = np.array(space.embeddings)
        embeddings[newcomers] = predict(space.encoder, heard)
        space.set_embeddings(embeddings)
        where = "where its encoder puts them"
    return (
        f"basis and {known} of {space.num_slots} embeddings start from "
        f"{path}, the others {where}"
    )


def listen(
    task: task_lib.SubmodelTask,
    encoder: space_encoder.SpaceEncoder,
    data: SpeakersBySlot,
    slots: abc.Iterable[int] | None = None,
) -> np.ndarray:
    """The speaker encoder's input for each slot, `[slots, 2 model_dim]`.

    It comes from the first utterances of each speaker, padded to the longest of
    that speaker's own.
    """
    base, heard = task.base, []
    for slot in range(task.stack.num_slots) if slots is None else slots:
        samples = [
            padded_audio.read_samples(utterance, base.sample_rate)
            for utterance in data[slot].utterances[:UTTERANCES]
        ]
        bucket = base.bucket_samples(max(map(len, samples)))
        audio, lengths = padded_audio.pad(samples, UTTERANCES, bucket)
        activations, paddings = task.lower(
            tf.constant(audio), tf.constant(lengths)
        )
        weights = tf.constant([(lengths > 0).astype(np.float32)])
        heard.append(encoder.statistics(activations, paddings, weights))
    return np.concatenate([np.asarray(each) for each in heard])


def predict(
    encoder: space_encoder.SpaceEncoder, heard: np.ndarray
) -> np.ndarray:
    """The embeddings `[n, embedding_dim]` that the encoder now predicts."""
    return np.asarray(encoder.predict(encoder.tensors(), tf.constant(heard)))


def load_submodels(
    path: str,
    base_fingerprint: str,
    space: embedding_space.EmbeddingSpace,
) -> dict[str, np.ndarray]:
    """The Submodels of a run, as packed vectors by speaker.

    Raises:
        ValueError: there are none; they are for another base than this one, or
            have another layout than the space; or they did
            not start from one point.
    """
    directory = model_directory.ModelDirectory(path)
    saved = directory.read_experiment()
    # A sum of Submodels that started from different points is like none of
    # them.
    if saved and not saved["values"]["submodel"]["shared_start"]:
        raise ValueError(
            f"{path}: its Submodels began at different points, and no space "
            f"starts from them; train them with submodel.shared_start=true"
        )
    folder = directory.submodels
    found = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    names = sorted(n for n in found if n.endswith(submodel_file.SUFFIX))
    if not names:
        raise ValueError(
            f"{folder}: no Submodels to start a space from; --space_from "
            f"takes the folder of a run of tasks.train"
        )
    vectors = {}
    for name in names:
        source = posixpath.join(folder, name)
        loaded = submodel_file.load(source, base_fingerprint, space.layout)
        vectors[loaded.metadata.speaker] = loaded.vector
    return vectors


def from_space(
    space: embedding_space.EmbeddingSpace, stored: space_file.Space
) -> int:
    """Continues a trained space, so that it can be trained again.

    Submodels that were made from it stay as they are: they are files of their
    own. Speakers that the stored space does not have start at its mean.

    Returns:
        How many of the speakers it has.

    Raises:
        ValueError: the two do not fit; the message names the value to change.
    """
    metadata = stored.metadata
    encoder = space.encoder.config if space.encoder else None
    stored_encoder = metadata.encoder["config"] if stored.encoder else None
    received = {
        "space.embedding_dim": space.embedding_dim,
        "space.normalization": space.normalization,
        "space.speaker_encoder": encoder,
    }
    expected = {
        "space.embedding_dim": stored.embedding_dim,
        "space.normalization": metadata.normalization,
        "space.speaker_encoder": stored_encoder,
    }
    submodel_layout.check_same(stored.layout, space.layout)
    for name, value in expected.items():
        if received[name] != value:
            raise ValueError(
                f"`{name}` must be as in the space that this one starts from, "
                f"{value}. Received: {received[name]}."
            )
    own = dict(zip(stored.speakers, stored.embeddings, strict=True))
    mean = stored.mean_embedding
    space.set_basis(stored.basis)
    space.set_embeddings([own.get(s, mean) for s in space.speakers])
    if space.encoder:
        space.encoder.set_weights(stored.encoder)
    return len(own.keys() & set(space.speakers))


def from_submodels(
    space: embedding_space.EmbeddingSpace,
    vectors: abc.Mapping[str, np.ndarray],
) -> float:
    """Spans a space by the top singular directions of Submodels.

    The singular value decomposition `X = U S V` of the packed Submodels is
    about zero and not about their mean, so that the zero embedding stays the
    base. Embeddings get the scale of drawn ones, elements the rest. Directions
    beyond the rank of the Submodels keep their drawn elements and have
    embeddings of zero.

    Args:
        vectors: packed Submodels `[num_values]` by speaker. Speakers of the
            space without one start at the mean.

    Returns:
        The share of the Submodels' sum of squares that is kept.
    """
    stacked = np.stack(list(vectors.values()))
    left, sizes, right = np.linalg.svd(stacked, full_matrices=False)
    rank = int(np.sum(sizes > 1e-6 * sizes[0])) if sizes[0] else 0
    kept = min(rank, space.embedding_dim)
    # Left singular vectors have a mean square of 1 / speakers.
    scale = space.initial_scale * np.sqrt(len(stacked) / space.embedding_dim)
    points = np.zeros((len(stacked), space.embedding_dim), np.float32)
    points[:, :kept] = scale * left[:, :kept]
    elements = (sizes[:kept, None] / scale * right[:kept]).astype(np.float32)
    basis = {k: v.numpy() for k, v in space.basis.variables_by_name.items()}
    for name, tensor in space.layout.unpack(elements).items():
        basis[name][:kept] = tensor
    space.set_basis(basis)
    own = dict(zip(vectors, points, strict=True))
    mean = points.mean(axis=0)
    space.set_embeddings([own.get(s, mean) for s in space.speakers])
    squares = np.square(sizes)
    return float(squares[:kept].sum() / max(squares.sum(), 1e-30))
