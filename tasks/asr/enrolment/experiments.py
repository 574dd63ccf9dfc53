"""The experiments of an enrolment: those of the space, made short."""

import dataclasses

import numpy as np

from lingvo_like import hyperparams
from params import registry, schema


def of_space(space):
    """The `schema.Experiment` that a space was trained by.

    Args:
        space: `space.Space`.

    Raises:
        ValueError: the experiment is not registered, or has other values now.
    """
    metadata = space.metadata
    return hyperparams.from_dict(
        registry.get(metadata.experiment),
        metadata.values,
    )


def embedding(trained, space, values):
    """The experiment that learns embeddings alone.

    No decay pulls a newcomer to the base model and nothing is dropped out: few
    steps from a good start, and the held-out loss, keep it from overfitting.

    Args:
        trained: `schema.Experiment` of the space.
        space: `space.Space`.
        values: `enrolment_plan.Values`.
    """
    rate = values.embedding_learning_rate * spread(space)
    result = _short(trained, values.seed, values.embedding_steps, rate, 0)
    return dataclasses.replace(
        result,
        adapter=dataclasses.replace(trained.adapter, dropout_rate=0.0),
        space=dataclasses.replace(
            trained.space, learning_rate=rate, weight_decay=0.0
        ),
    )


def full(trained, values):
    """The experiment in which every tensor of a Submodel learns."""
    return dataclasses.replace(
        _short(
            trained,
            values.seed,
            values.full_steps,
            values.full_learning_rate,
            values.full_warmup_steps,
        ),
        space=schema.Space(),
    )


def _short(trained, seed, num_steps, learning_rate, warmup_steps):
    return dataclasses.replace(
        trained,
        train=dataclasses.replace(
            trained.train, seed=seed, num_steps=num_steps
        ),
        optimizer=dataclasses.replace(
            trained.optimizer,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            decay="linear",
            weight_decay=0.0,
        ),
    )


def spread(space):
    """How far the space's own speakers lie from their mean, per element."""
    if len(space.speakers) > 1:
        found = float(np.sqrt(np.mean(np.var(space.embeddings, axis=0))))
        if found > 0.0:
            return found
    return 1.0 / np.sqrt(space.embedding_dim)
