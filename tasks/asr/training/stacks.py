"""What an experiment trains, slots or a space, and the optimiser of it.

The training step is the same for both: `stack.Stack` and
`embedding_space.EmbeddingSpace` answer to the same calls.
"""

import dataclasses

from lingvo_like.space import embedding_space
from lingvo_like.space import encoder as space_encoder
from lingvo_like.space import optimizer as space_optimizer
from lingvo_like.stack import optimizer as optimizer_lib
from lingvo_like.stack import stack as stack_lib


def make_stack(layout, experiment, speakers, space=None, slot_rows=None):
    """The stack of a job, at its start.

    Args:
        layout: `submodel_layout.Layout`.
        experiment: `schema.Experiment`.
        speakers: sequence of speaker ids, the slots.
        space: `space.Space` to keep, where only embeddings of the speakers
            are learned; None to train what the experiment says.
        slot_rows: `SlotRows` of a stack of slots, or None. A space keeps a row
            for each speaker on every replica: its rows are few numbers.

    Returns:
        `Stack` or `EmbeddingSpace`.

    Raises:
        ValueError: the space has another layout.
    """
    if space is not None:
        if space.layout != layout:
            raise ValueError(
                f"the space is of other Submodels: its layout must be "
                f"{layout}. Received: {space.layout}."
            )
        return space.embedding_space(speakers)
    values = experiment.space
    seed = experiment.train.seed
    if not values.embedding_dim:
        result = stack_lib.Stack(
            speakers, layout, experiment.adapter.residual_weight, slot_rows
        )
        result.initialize(seed, experiment.adapter.shared_start)
        return result
    encoder = None
    if values.speaker_encoder:
        encoder = space_encoder.SpaceEncoder(
            layout.model_dim, values.embedding_dim, values.encoder_dim
        )
    result = embedding_space.EmbeddingSpace(
        speakers,
        layout,
        values.embedding_dim,
        experiment.adapter.residual_weight,
        values.normalization,
        values.initial_scale,
        values.element_dropout_rate,
        values.speaker_dropout_rate,
        values.prediction_rate,
        encoder,
    )
    result.initialize(seed)
    return result


def is_per_slot(stack, name):
    """Whether a variable of `SubmodelTask.state_by_name` has rows of slots.

    Args:
        stack: from `make_stack`.
        name: str.
    """
    return isinstance(stack, stack_lib.Stack) or name.startswith(
        (f"weight/{embedding_space.EMBEDDING}", "optimizer/embedding/")
    )


def make_optimizer(stack, experiment):
    """The optimiser of a job: `SlotAdamW` or `SpaceAdamW`.

    Args:
        stack: from `make_stack`.
        experiment: `schema.Experiment`.
    """
    num_steps = experiment.train.num_steps
    values = dataclasses.asdict(experiment.optimizer)
    if isinstance(stack, stack_lib.Stack):
        return optimizer_lib.SlotAdamW(
            stack.variables_by_name, num_steps, **values
        )

    def adamw(variables_by_name, **own):
        return optimizer_lib.SlotAdamW(
            variables_by_name, num_steps, **(values | own)
        )

    space = experiment.space
    basis = encoder = None
    if stack.basis_trainable:
        basis = adamw(stack.basis.variables_by_name)
        if stack.encoder:
            encoder = adamw(
                stack.encoder.variables_by_name,
                learning_rate=space.encoder_learning_rate,
            )
    embeddings = adamw(
        {embedding_space.EMBEDDING: stack.embeddings},
        learning_rate=space.learning_rate,
        weight_decay=space.weight_decay,
    )
    return space_optimizer.SpaceAdamW(stack, embeddings, basis, encoder)
