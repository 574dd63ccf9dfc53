"""Spaces whose embeddings are weights or directions learn as others do."""

import dataclasses

import numpy as np
import pytest

from lingvo_like import hyperparams
from lingvo_like.space import embeddings, file as space_file
from params import spaces
from tests import tiny
from tests.tasks.asr.training import test_space_training as space_cases

STEPS = 12


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    return (tiny.recordings(folder, space_cases.SPEAKERS, 4), "")


@pytest.mark.parametrize("normalization", ["softmax", "unit"])
def test_a_normalised_space_learns_and_stays_normalised(
    base, manifests, tmp_path, normalization
):
    values = dataclasses.replace(
        spaces.Space(), embedding_dim=4, normalization=normalization
    )
    run = space_cases.Run(base, manifests, tmp_path, values, dev=False)
    stack, batch = run.job.stack, space_cases.batch_of(run)
    start = stack.embeddings.numpy()
    before = run.job.losses(batch)[0].numpy()
    for _ in range(STEPS):
        run.job.train_step(batch)
    after = run.job.losses(batch)[0].numpy()
    active = batch["active"].numpy()
    assert np.all(after[active] < before[active])
    slots = batch["row_indices"].numpy()[active]
    assert np.all(np.any(stack.embeddings.numpy() != start, axis=1)[slots])
    weights = np.array(embeddings.normalize(stack.embeddings, normalization))
    if normalization == "softmax":
        assert np.all(weights > 0)
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    else:
        lengths = np.linalg.norm(weights, axis=1)
        np.testing.assert_allclose(lengths, 1.0, atol=1e-5)
    # What is learned with, written and read again is mixed by these alone.
    made = space_file.create(
        stack,
        base_fingerprint=space_cases.FINGERPRINT,
        experiment="conformer.TinyEmbedding",
        values=hyperparams.to_dict(run.job.experiment),
    )
    space_file.save(run.directory.space, made)
    space = space_file.load(run.directory.space, space_cases.FINGERPRINT)
    basis = stack.basis.variables_by_name
    for slot, speaker in enumerate(space_cases.SPEAKERS):
        read = space.materialise(space.embedding(speaker))
        for name, tensor in stack.read(slot).items():
            mixed = np.tensordot(weights[slot], basis[name].numpy(), axes=1)
            np.testing.assert_allclose(tensor, mixed, atol=1e-6)
            np.testing.assert_allclose(read[name], mixed, atol=1e-6)
