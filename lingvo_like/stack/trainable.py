"""What a training step needs of the Submodels that it trains.

`stack.Stack` trains a Submodel for each speaker. `EmbeddingSpace` trains a
basis and an embedding for each speaker. The training step, checkpoints and
evaluation know only the protocols here.
"""

from collections import abc
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from lingvo_like import tensor_types
from lingvo_like.stack import rows
from lingvo_like.submodel import layout as submodel_layout, sites

Tensor: TypeAlias = tensor_types.Tensor


class StepInputs(NamedTuple):
    """What a step offers to the selection of its weights.

    Attributes:
        seeds: `[speakers, 2]` int32, each speaker's own.
        active: `[speakers]` bool, False where a place is empty.
        utterance_weights: `[speakers, utterances]`, 0 for filling.
        activations: `[speakers * utterances, time, model_dim]`, what enters
            the lowest adapter.
        paddings: `[speakers * utterances, time]`, 1 where a frame is padded.
    """

    seeds: tf.Tensor
    active: tf.Tensor
    utterance_weights: tf.Tensor
    activations: tf.Tensor
    paddings: tf.Tensor


class TrainableSubmodels(Protocol):
    """The Submodels of a job's speakers, one for each slot.

    Attributes:
        speakers: speaker ids; a speaker's slot is its position.
        layout: the tensors of one Submodel.
        residual_weight: factor of each adapter's branch.
        shared_names: names of the variables that all speakers share; every
            other variable has a row for each slot.
    """

    speakers: tuple[str, ...]

    @property
    def layout(self) -> submodel_layout.Layout: ...

    @property
    def residual_weight(self) -> float: ...

    @property
    def shared_names(self) -> abc.Set[str]: ...

    @property
    def variables_by_name(self) -> abc.Mapping[str, rows.Variable]:
        """Every variable by a stable name."""
        ...

    @property
    def num_slots(self) -> int: ...

    def slot(self, speaker: str) -> int: ...

    def select(self, row_indices: Tensor) -> tensor_types.TensorsByName:
        """The weights `[speakers, ...]` of a batch, by tensor name."""
        ...

    def trainables(self, row_indices: Tensor) -> tensor_types.TensorsByName:
        """The tensors that a step differentiates by, by name."""
        ...

    def select_for_training(
        self, trainables: tensor_types.TensorsByName, inputs: StepInputs
    ) -> tuple[tensor_types.TensorsByName, Tensor]:
        """The weights that `trainables` stand for, and an extra loss.

        Returns:
            Weights `[speakers, ...]` by tensor name, and a float scalar, the
            sum of the active speakers' losses from the selection itself.
        """
        ...

    def site_functions(
        self,
        weights: tensor_types.TensorsByName,
        dropout_masks: abc.Mapping[int, Tensor] | None = None,
    ) -> dict[int, sites.SiteFunction]:
        """What a base model calls at each site; see `sites.site_functions`."""
        ...

    def read(self, slot: int) -> dict[str, np.ndarray]:
        """The tensors of one Submodel."""
        ...


class SubmodelOptimizer(Protocol):
    """Moves what a step differentiated by.

    Attributes:
        skipped: `[slots]` int32, steps whose gradient was not finite.
        shared_names: names in `state_by_name` that all speakers share; every
            other variable has a row for each slot.
    """

    skipped: rows.Variable

    @property
    def shared_names(self) -> abc.Set[str]: ...

    @property
    def state_by_name(self) -> dict[str, rows.Variable]:
        """Every variable of the optimizer by a stable name."""
        ...

    def update(
        self,
        row_indices: tf.Tensor,
        active: tf.Tensor,
        trainables: tensor_types.TensorsByName,
        gradients: tensor_types.TensorsByName,
        /,
    ) -> tf.Tensor:
        """Takes one step; returns each speaker's gradient norm `[speakers]`."""
        ...
