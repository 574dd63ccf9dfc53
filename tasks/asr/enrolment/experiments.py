"""The experiments of an enrolment: the space's own, made short."""

import dataclasses

import numpy as np

from lingvo_like import hyperparams
from lingvo_like.space import file as space_file
from params import registry, schema, spaces
from tasks.asr.enrolment import plan


def of_space(space: space_file.Space) -> schema.Experiment:
    """The experiment that a space was trained by.

    Raises:
        ValueError: the experiment is not registered, or has other values now.
    """
    trained = registry.get(space.metadata.experiment)
    return hyperparams.from_dict(trained, space.metadata.values)


def embedding(
    trained: schema.Experiment, space: space_file.Space, values: plan.Values
) -> schema.Experiment:
    """The experiment that learns embeddings alone.

    There is no weight decay, which would pull a newcomer to the base model,
    and no dropout. Few steps from a good start, and the held-out loss, prevent
    overfitting.
    """
    rate = values.embedding_learning_rate * _spread(space)
    return dataclasses.replace(
        _short(trained, values.seed, values.embedding_steps, rate, 0),
        submodel=dataclasses.replace(trained.submodel, dropout_rate=0.0),
        space=dataclasses.replace(
            trained.space, learning_rate=rate, weight_decay=0.0
        ),
    )


def full(trained: schema.Experiment, values: plan.Values) -> schema.Experiment:
    """The experiment that learns every tensor of a Submodel."""
    result = _short(
        trained,
        values.seed,
        values.full_steps,
        values.full_learning_rate,
        values.full_warmup_steps,
    )
    return dataclasses.replace(result, space=spaces.Space())


def _short(trained, seed, num_steps, learning_rate, warmup_steps):
    train = dataclasses.replace(trained.train, seed=seed, num_steps=num_steps)
    optimizer = dataclasses.replace(
        trained.optimizer,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        decay="linear",
        weight_decay=0.0,
    )
    return dataclasses.replace(trained, train=train, optimizer=optimizer)


def _spread(space):
    """The distance of the space's own speakers from their mean, per element."""
    if len(space.speakers) > 1:
        found = float(np.sqrt(np.mean(np.var(space.embeddings, axis=0))))
        if found > 0.0:
            return found
    return 1.0 / np.sqrt(space.embedding_dim)
