"""What a space adds to a training job: its refusals, and what it leaves."""

import posixpath

import numpy as np

from lingvo_like import files, hyperparams
from lingvo_like.space import embeddings
from lingvo_like.space import file as space_file

PROJECTOR_CONFIG = """\
embeddings {
  tensor_name: "speaker embeddings"
  tensor_path: "speaker_embeddings.tsv"
  metadata_path: "speaker_metadata.tsv"
}
"""


def check_request(space, space_from, selected):
    """Refuses flags that do not go with the experiment's space.

    Args:
        space: `schema.Space`.
        space_from: str, --space_from.
        selected: list of str, --speakers.

    Raises:
        ValueError: says what to do instead.
    """
    if bool(space_from) != (space.initializer in ("stack", "space")):
        raise ValueError(
            "--space_from names the run that a space starts from: it goes "
            "with --set=space.initializer=stack or space, and that with it"
        )
    if space.embedding_dim and selected:
        raise ValueError(
            "--speakers would move the basis, which is everybody's, by some "
            "of its speakers; enrol speakers in a trained space instead, with "
            "tasks.enroll"
        )


def write(directory, job, data, name, base_fingerprint, base_description):
    """Writes the space beside the Submodels, and TensorBoard's projector.

    Args:
        directory: `ModelDirectory`.
        job: `task.SubmodelTask` of a space, trained.
        data: dict of slot to `SpeakerUtterances`.
        name: str, the experiment's registered name.
        base_fingerprint: str.
        base_description: JSON-able dict.
    """
    space = space_file.create(
        job.stack,
        base_fingerprint=base_fingerprint,
        experiment=name,
        values=hyperparams.to_dict(job.experiment),
        base_description=base_description,
        training={
            "speakers": len(data),
            "train_utterances": sum(len(d.utterances) for d in data.values()),
            "train_seconds_of_speech": round(
                sum(u.duration for d in data.values() for u in d.utterances), 3
            ),
            "seed": job.experiment.train.seed,
        },
    )
    space_file.save(directory.space, space)
    severities = {
        each.speaker: each.utterances[0].labelled_severity
        for each in data.values()
    }
    write_projector(directory.tensorboard, space, severities)


def write_projector(folder, space, severities):
    """Writes what TensorBoard's embedding projector shows.

    Args:
        folder: str, a log directory of TensorBoard.
        space: `space.Space`.
        severities: dict of speaker to severity or None.
    """
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


def _cell(text):
    """A name that stays in its cell of a table."""
    return " ".join(str(text).split()) or "?"
