"""A space that was never trained, and speech, for tests of enrolment.

The elements of its basis are drawn, so that every point of it is another
Submodel and an embedding has something to learn.
"""

import dataclasses

import numpy as np

from lingvo_like import hyperparams
from lingvo_like.space import (
    embedding_space,
    encoder as space_encoder,
    file as space_file,
)
from params import registry
from tasks.asr import layouts
from tasks.asr.enrolment import plan, recordings
from tests import tiny

EXPERIMENT = "conformer.TinyEmbedding"
# Few steps and no folds to speak of: what is tested is not how well it learns.
QUICK = plan.Values(
    embedding_steps=2,
    embedding_utterances=1,
    embedding_neighbors=0,
    full_steps=2,
    full_utterances=1,
    full_warmup_steps=0,
    max_folds=2,
    runs_per_step=4,
)


def space(base, encoder=False, seed=0, speakers=("old1", "old2", "old3")):
    """A `space.Space` of the tiny base."""
    experiment = registry.get(EXPERIMENT)
    experiment = dataclasses.replace(
        experiment,
        base=dataclasses.replace(
            experiment.base,
            buckets_seconds=base.get_config()["buckets_seconds"],
        ),
    )
    layout = layouts.of(base.sites, experiment)
    dim = experiment.space.embedding_dim
    made = embedding_space.EmbeddingSpace(
        speakers,
        layout,
        dim,
        encoder=(
            space_encoder.SpaceEncoder(base.model_dim, dim, 8)
            if encoder
            else None
        ),
    )
    made.initialize(seed)
    draw = np.random.default_rng(seed)
    made.set_basis(
        {
            name: 0.3 * draw.standard_normal((dim, *shape)).astype("float32")
            for name, shape in layout.shapes.items()
        }
    )
    return space_file.create(
        made,
        base_fingerprint=base.fingerprint(),
        experiment=EXPERIMENT,
        values=hyperparams.to_dict(experiment),
    )


def changed(space, speakers=None, **tensors):
    """The space with other speakers, and tensors by their names in a file."""
    metadata = space.metadata
    if speakers is not None:
        metadata = dataclasses.replace(metadata, speakers=tuple(speakers))
    return dataclasses.replace(
        space, metadata=metadata, tensors=space.tensors | tensors
    )


def speech(base, folder, speakers, utterances, **kwargs):
    """Dict of speaker to `SpeakerUtterances`, of recordings made here."""
    path = tiny.recordings(folder, speakers, utterances, **kwargs)
    found, _, left_out = recordings.read(
        base, tiny.experiment(), path, "", [], 0.0
    )
    if left_out:
        raise ValueError(left_out.describe())
    return found
