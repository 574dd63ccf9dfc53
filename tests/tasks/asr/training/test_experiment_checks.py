"""Values that no training can run with are refused before it begins."""

import pytest

from lingvo_like import hyperparams
from lingvo_like.stack import adamw
from params import conformer, registry
from tasks.asr.training import experiment_checks


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_every_experiment_passes(name):
    experiment_checks.check(registry.get(name))


@pytest.mark.parametrize(
    "change, message",
    [
        ("optimizer.epsilon=0", "`optimizer.epsilon` must be at least 1e-30"),
        ("optimizer.decay=exponential", "must be one of constant, linear, cos"),
    ],
)
def test_an_optimizer_that_cannot_be_is_named(change, message):
    experiment = hyperparams.override(conformer.Tiny(), [change])
    with pytest.raises(ValueError, match=message):
        experiment_checks.check(experiment)


def test_the_decays_are_those_of_the_optimiser():
    assert experiment_checks.CHOICES["optimizer.decay"] == adamw.DECAYS


@pytest.mark.parametrize(
    "changes, message",
    [
        (["space.embedding_dim=-1"], "must be at least 0. Received: -1"),
        (["space.element_dropout_rate=1.0"], "below 1.0. Received: 1.0"),
        (["space.normalization=unity"], "none, softmax, unit. Received"),
        (["space.initializer=noize"], "noise, stack, encoder, space. Received"),
        (
            ["space.initializer=stack", "space.normalization=unit"],
            "needs `space.normalization=none`",
        ),
        (["space.initializer=encoder"], "needs `space.speaker_encoder=true`"),
        (["space.initial_scale=0"], "`space.initial_scale` must be positive"),
        (
            ["space.embedding_dim=0", "space.speaker_encoder=true"],
            "they need `space.embedding_dim`",
        ),
        (["train.resident_speakers=4"], "`train.resident_speakers` is of slo"),
        (
            ["space.embedding_dim=0", "train.resident_speakers=1"],
            "at least `train.speakers_per_step`.* Received: 1 and 2",
        ),
    ],
)
def test_a_space_that_cannot_be_is_named(changes, message):
    experiment = hyperparams.override(conformer.TinyEmbedding(), changes)
    with pytest.raises(ValueError, match=message):
        experiment_checks.check(experiment)
