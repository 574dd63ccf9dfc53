"""The flags and the output files that only a job of a space has."""

import posixpath
import typing
from collections import abc

import numpy as np

from lingvo_like import files, hyperparams
from lingvo_like.space import embedding_space, embeddings, file as space_file
from params import spaces
from tasks.asr.data import preparation
from tasks.asr.training import (
    model_directory,
    submodel_files,
    task as task_lib,
)

PROJECTOR_CONFIG = """\
embeddings {
  tensor_name: "speaker embeddings"
  tensor_path: "speaker_embeddings.tsv"
  metadata_path: "speaker_metadata.tsv"
}
"""


def check_request(
    space: spaces.Space, space_from: str, speakers: abc.Sequence[str]
) -> None:
    """Refuses --space_from or --speakers that do not go with the space.

    Raises:
        ValueError: the message says what to do instead.
    """
    if bool(space_from) != (space.initializer in ("stack", "space")):
        raise ValueError(
            "--space_from names the run that a space starts from: give it "
            "together with --set=space.initializer=stack or space, or not at "
            "all"
        )
    if space.embedding_dim and speakers:
        raise ValueError(
            "--speakers would move the basis, which all speakers share, by "
            "some of them only; enrol speakers in a trained space instead, "
            "with tasks.enroll"
        )


def write(
    directory: model_directory.ModelDirectory,
    task: task_lib.SubmodelTask,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    origin: submodel_files.Origin,
) -> None:
    """Writes the space beside the Submodels, and TensorBoard's projector.

    Args:
        task: of a space, trained.
        data: utterances by slot.
    """
    space = space_file.create(
        typing.cast(embedding_space.EmbeddingSpace, task.stack),
        base_fingerprint=origin.base_fingerprint,
        experiment=origin.experiment,
        values=hyperparams.to_dict(task.experiment),
        base_description=origin.base_description,
        training={
            "speakers": len(data),
            "train_utterances": sum(len(d.utterances) for d in data.values()),
            "train_seconds_of_speech": round(
                sum(u.duration for d in data.values() for u in d.utterances), 3
            ),
            "seed": task.experiment.train.seed,
        },
    )
    space_file.save(directory.space, space)
    severities = {
        each.speaker: each.utterances[0].labelled_severity
        for each in data.values()
    }
    _write_projector(directory.tensorboard, space, severities)


def _write_projector(folder, space, severities):
    """Writes the embeddings for TensorBoard's embedding projector."""
    points = np.asarray(
        embeddings.normalize(space.embeddings, space.metadata.normalization)
    )
    table = "".join(
        "\t".join(repr(float(value)) for value in point) + "\n"
        for point in points
    )
    metadata = "speaker\tseverity\n" + "".join(
        f"{_cell(speaker)}\t{_cell(severities.get(speaker) or 'unknown')}\n"
        for speaker in space.speakers
    )
    for name, text in (
        ("speaker_embeddings.tsv", table),
        ("speaker_metadata.tsv", metadata),
        ("projector_config.pbtxt", PROJECTOR_CONFIG),
    ):
        files.write_atomically(posixpath.join(folder, name), text.encode())


def _cell(text: str) -> str:
    """A name without tabs or line breaks, for a cell of a table."""
    return " ".join(str(text).split()) or "?"
