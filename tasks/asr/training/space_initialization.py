"""Where a space starts: from Submodels that are there, or from what it hears.

Nothing here is repeated when a run goes on from a checkpoint.
"""

import posixpath

import numpy as np
import tensorflow as tf

from lingvo_like.space import file as space_file
from lingvo_like.submodel import file as submodel_file
from tasks.asr.batches import padded_audio
from tasks.asr.training import model_directory

# Utterances of a speaker that the encoder hears before training.
UTTERANCES = 4


def initialize(job, data, base_fingerprint, space_from=""):
    """Puts a new space where its experiment wants it.

    Args:
        job: `task.SubmodelTask` of a space, as it was made.
        data: dict of slot to `SpeakerUtterances`, all of the job's.
        base_fingerprint: str.
        space_from: the run to start from, of slots or of a space; "" for
            none.

    Returns:
        str, a line that says what it starts from.

    Raises:
        ValueError: the run holds no Submodels, no space, or not this job's
            kind.
    """
    space, values = job.stack, job.experiment.space
    said = "basis and embeddings start from noise"
    if values.initializer == "space":
        path = model_directory.ModelDirectory(space_from).space
        stored = space_file.load(path, base_fingerprint)
        known, where = from_space(space, stored), "at its mean"
        newcomers = [
            slot
            for slot, speaker in enumerate(space.speakers)
            if speaker not in stored.speakers
        ]
        if values.speaker_encoder and newcomers:
            embeddings = np.array(space.embeddings)
            embeddings[newcomers] = predict(space, listen(job, data, newcomers))
            space.set_embeddings(embeddings)
            where = "where its encoder puts them"
        return (
            f"basis and {known} of {space.num_slots} embeddings start from "
            f"{path}, the others {where}"
        )
    if values.speaker_encoder:
        heard = listen(job, data)
        space.encoder.adapt(heard)
        if values.initializer == "encoder":
            space.encoder.spread(
                predict(space, heard),
                values.initial_scale / np.sqrt(space.embedding_dim),
            )
            space.set_embeddings(predict(space, heard))
            said = "embeddings start where the speaker encoder puts them"
    if values.initializer == "stack":
        share = from_submodels(
            space, load_submodels(space_from, base_fingerprint, space)
        )
        said = (
            f"basis starts from {space_from}: {space.embedding_dim} "
            f"directions hold {100 * share:.1f} % of its Submodels"
        )
    return said


def listen(job, data, slots=None):
    """What the speaker encoder hears of each speaker `[slots, 2 model_dim]`.

    From the first utterances of each speaker, padded by their own longest.

    Args:
        job: `task.SubmodelTask` of a space.
        data: dict of slot to `SpeakerUtterances`.
        slots: list of ints, whom to hear; None for all.
    """
    base, encoder = job.base, job.stack.encoder
    heard = []
    for slot in range(job.stack.num_slots) if slots is None else slots:
        samples = [
            padded_audio.read_samples(utterance, base.sample_rate)
            for utterance in data[slot].utterances[:UTTERANCES]
        ]
        bucket = base.bucket_samples(max(map(len, samples)))
        audio, lengths = padded_audio.pad(samples, UTTERANCES, bucket)
        activations, paddings = job.lower(
            tf.constant(audio), tf.constant(lengths)
        )
        weights = (lengths > 0).astype(np.float32)
        heard.append(
            encoder.statistics(activations, paddings, tf.constant([weights]))
        )
    return np.concatenate([np.asarray(each) for each in heard])


def predict(space, heard):
    """The embeddings `[n, embedding_dim]` that the encoder predicts now."""
    return np.asarray(
        space.encoder.predict(space.encoder.tensors(), tf.constant(heard))
    )


def load_submodels(path, base_fingerprint, space):
    """The Submodels of a run: dict of speaker to packed vector.

    Args:
        path: str, the run's folder.
        base_fingerprint: str, of the base model that they have to be for.
        space: `EmbeddingSpace` whose layout and residual weight they share.

    Raises:
        ValueError: there are none, of another base, layout or weight, or
            they did not start alike.
    """
    directory = model_directory.ModelDirectory(path)
    saved = directory.read_experiment()
    # Of Submodels that began apart, no sum is like any of them.
    if saved and not saved["values"]["adapter"]["shared_start"]:
        raise ValueError(
            f"{path}: its Submodels began at different points, and no space "
            f"starts from them; train them with adapter.shared_start=true"
        )
    folder = directory.submodels
    names = []
    if tf.io.gfile.isdir(folder):
        names = sorted(
            name
            for name in tf.io.gfile.listdir(folder)
            if name.endswith(submodel_file.SUFFIX)
        )
    if not names:
        raise ValueError(
            f"{folder}: no Submodels to start a space from; --space_from "
            f"takes the folder of a run of tasks.train"
        )
    result = {}
    for name in names:
        source = posixpath.join(folder, name)
        loaded = submodel_file.load(source, base_fingerprint, space.layout)
        if loaded.metadata.residual_weight != space.residual_weight:
            raise ValueError(
                f"{source}: `adapter.residual_weight` must be "
                f"{space.residual_weight}. Received: "
                f"{loaded.metadata.residual_weight}."
            )
        result[loaded.metadata.speaker] = loaded.vector
    return result


def from_space(space, stored):
    """Takes up a trained space, to fit it again.

    Submodels that it gave stay as they are: they are files of their own.

    Args:
        space: `EmbeddingSpace`, initialised.
        stored: `space.Space`.

    Returns:
        how many of the speakers were of it; the others start at its mean.

    Raises:
        ValueError: it is of another kind; says which value has to change.
    """
    encoder = space.encoder.config if space.encoder else None
    for name, found, wanted in (
        ("adapter", space.layout, stored.layout),
        (
            "adapter.residual_weight",
            space.residual_weight,
            stored.metadata.residual_weight,
        ),
        ("space.embedding_dim", space.embedding_dim, stored.embedding_dim),
        (
            "space.normalization",
            space.normalization,
            stored.metadata.normalization,
        ),
        (
            "space.speaker_encoder",
            encoder,
            stored.metadata.encoder["config"] if stored.encoder else None,
        ),
    ):
        if found != wanted:
            raise ValueError(
                f"`{name}` must be as in the space that this one starts from, "
                f"{wanted}. Received: {found}."
            )
    own = dict(zip(stored.speakers, stored.embeddings, strict=True))
    space.set_basis(stored.basis)
    space.set_embeddings(
        np.stack([own.get(s, stored.mean_embedding) for s in space.speakers])
    )
    if space.encoder:
        space.encoder.set_weights(stored.encoder)
    return len(own.keys() & set(space.speakers))


def from_submodels(space, vectors):
    """Spans a space by the top singular directions of Submodels.

    The packed Submodels `X = U S V` are summed up about zero and not about
    their mean, so that the zero embedding stays the base. Embeddings get the
    scale of drawn ones, elements the rest. Directions beyond the Submodels'
    rank keep their drawn elements, and embeddings of zero in them.

    Args:
        space: `EmbeddingSpace`, initialised.
        vectors: dict of speaker to packed Submodel `[num_values]`; speakers
            of the space that are not among them start at the mean.

    Returns:
        the share of the squares of the Submodels' values that is kept.
    """
    stacked = np.stack(list(vectors.values()))
    left, sizes, right = np.linalg.svd(stacked, full_matrices=False)
    rank = int(np.sum(sizes > 1e-6 * sizes[0])) if sizes[0] else 0
    kept = min(rank, space.embedding_dim)
    # Left vectors have a mean square of 1 / speakers.
    scale = space.initial_scale * np.sqrt(len(stacked) / space.embedding_dim)
    points = np.zeros((len(stacked), space.embedding_dim), np.float32)
    points[:, :kept] = scale * left[:, :kept]
    basis = {k: v.numpy() for k, v in space.basis.variables_by_name.items()}
    for element in range(kept):
        vector = (sizes[element] / scale * right[element]).astype(np.float32)
        for name, tensor in space.layout.unpack(vector).items():
            basis[name][element] = tensor
    space.set_basis(basis)
    own = dict(zip(vectors, points, strict=True))
    mean = points.mean(axis=0)
    space.set_embeddings(np.stack([own.get(s, mean) for s in space.speakers]))
    squares = np.square(sizes)
    return float(squares[:kept].sum() / max(squares.sum(), 1e-30))
