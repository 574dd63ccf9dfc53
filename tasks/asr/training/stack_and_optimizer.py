"""Makes the Submodels that an experiment trains, and their optimizer.

An experiment trains either a Submodel for each speaker (`stack.Stack`) or a
space of embeddings (`embedding_space.EmbeddingSpace`). Only this module knows
which; everything else uses the protocols of `trainable`.
"""

import dataclasses
from collections import abc
from typing import Any

from lingvo_like.base_models import base_model
from lingvo_like.space import (
    embedding_space,
    encoder as space_encoder,
    file as space_file,
    optimizer as space_optimizer,
)
from lingvo_like.stack import adamw, rows, slot_adamw, stack, trainable
from lingvo_like.submodel import layout as submodel_layout
from params import schema
from tasks.asr import layouts


def make(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    speakers: abc.Sequence[str],
    space: space_file.Space | None = None,
    slot_rows: rows.SlotRows | None = None,
) -> tuple[trainable.TrainableSubmodels, trainable.SubmodelOptimizer]:
    """The Submodels of a job at their start, and their optimizer.

    Args:
        speakers: speaker ids; a speaker's slot is its position.
        space: keeps this space and learns only embeddings of the speakers.
        slot_rows: the rows of a stack of slots. A space needs none: it keeps a
            row for each speaker on every replica, which is few numbers.

    Raises:
        ValueError: the base lacks a site, or the space has another layout.
    """
    layout = layouts.of(base.sites, experiment)
    constants = layout.constants(base.kernel)
    if space is not None:
        try:
            submodel_layout.check_same(layout, space.layout)
        except ValueError as error:
            raise ValueError(
                f"the space is for other Submodels: {error}"
            ) from None
        made = space.embedding_space(speakers, constants)
    elif experiment.space.embedding_dim:
        made = _make_space(
            layout, constants, base.model_dim, experiment, speakers
        )
    else:
        slots = stack.Stack(speakers, layout, constants, slot_rows)
        slots.initialize(
            experiment.train.seed, experiment.submodel.shared_start
        )
        return slots, slot_optimizer(slots.variables_by_name, experiment)
    return made, _space_optimizer(made, experiment)


def slot_optimizer(
    variables_by_name: abc.Mapping[str, rows.Variable],
    experiment: schema.Experiment,
    **changes: Any,
) -> slot_adamw.SlotAdamW:
    """An experiment's optimizer of variables `[rows, ...]` of slots.

    Args:
        **changes: values that differ from the experiment's.
    """
    values = dataclasses.asdict(experiment.optimizer) | changes
    rule = adamw.AdamW(num_steps=experiment.train.num_steps, **values)
    return slot_adamw.SlotAdamW(variables_by_name, rule)


def _make_space(layout, constants, model_dim, experiment, speakers):
    values = experiment.space
    encoder = None
    if values.speaker_encoder:
        encoder = space_encoder.SpaceEncoder(
            model_dim, values.embedding_dim, values.encoder_dim
        )
    result = embedding_space.EmbeddingSpace(
        speakers,
        layout,
        values.embedding_dim,
        constants,
        values.normalization,
        values.initial_scale,
        values.element_dropout_rate,
        values.speaker_dropout_rate,
        values.prediction_rate,
        encoder,
    )
    result.initialize(experiment.train.seed)
    return result


def _space_optimizer(space, experiment):
    values = experiment.space
    basis = encoder = None
    if space.basis_trainable:
        basis = slot_optimizer(space.basis.variables_by_name, experiment)
        if space.encoder:
            encoder = slot_optimizer(
                space.encoder.variables_by_name,
                experiment,
                learning_rate=values.encoder_learning_rate,
            )
    embeddings = slot_optimizer(
        {embedding_space.EMBEDDING: space.embeddings},
        experiment,
        learning_rate=values.learning_rate,
        weight_decay=values.weight_decay,
    )
    return space_optimizer.SpaceAdamW(space, embeddings, basis, encoder)
