"""The Submodels of a job, as a training step needs them.

`stack.Stack` trains a Submodel for each speaker. `EmbeddingSpace` trains a
basis and an embedding for each speaker. The training step, checkpoints and
evaluation know only the interfaces here.
"""

import abc
import collections.abc
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from lingvo_like import tensor_types
from lingvo_like.layers import sites
from lingvo_like.stack import rows
from lingvo_like.submodel import (
    layout as submodel_layout,
    sites as submodel_sites,
)

Tensor: TypeAlias = tensor_types.Tensor


class StepInputs(NamedTuple):
    """The values of a step that the selection of its weights may use.

    Attributes:
        seeds: `[speakers, 2]` int32, each speaker's own.
        active: `[speakers]` bool, False where a place is empty.
        utterance_weights: `[speakers, utterances]`, 0 for filling.
        activations: `[speakers * utterances, time, model_dim]`, what enters
            the lowest site.
        paddings: `[speakers * utterances, time]`, 1 where a frame is padded.
    """

    seeds: tf.Tensor
    active: tf.Tensor
    utterance_weights: tf.Tensor
    activations: tf.Tensor
    paddings: tf.Tensor


class TrainableSubmodels(tf.Module, abc.ABC):
    """The Submodels of a job's speakers; a speaker's slot is its position.

    Attributes:
        layout: the tensors of one Submodel.
        constants: what its kinds need of the base model.
        variables_by_name: every variable by a stable name.
        shared_names: names of the variables that all speakers share; every
            other variable has a row for each slot.

    Raises:
        ValueError: there is no speaker, or one appears twice.
    """

    variables_by_name: collections.abc.Mapping[str, rows.Variable]
    shared_names: collections.abc.Set[str]

    def __init__(
        self,
        speakers: collections.abc.Iterable[str],
        layout: submodel_layout.Layout,
        constants: submodel_layout.Constants | None,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.speakers = tuple(speakers)
        self.layout = layout
        self.constants = constants
        self._slots = {speaker: i for i, speaker in enumerate(self.speakers)}
        if len(self._slots) != len(self.speakers):
            raise ValueError("a speaker appears twice in one stack")
        if not self.speakers:
            raise ValueError("a stack needs at least one speaker")

    @property
    def num_slots(self) -> int:
        return len(self.speakers)

    def slot(self, speaker: str) -> int:
        """The slot of a speaker.

        Raises:
            ValueError: the speaker has none; never a neighbour's slot.
        """
        if speaker not in self._slots:
            raise ValueError(
                f"speaker {speaker!r} has no slot in this stack of "
                f"{self.num_slots}"
            )
        return self._slots[speaker]

    @abc.abstractmethod
    def select(self, row_indices: Tensor) -> dict[str, Tensor]:
        """The weights `[speakers, ...]` of a batch, by tensor name."""

    @abc.abstractmethod
    def trainables(self, row_indices: Tensor) -> dict[str, Tensor]:
        """The tensors that a step differentiates by, by name."""

    @abc.abstractmethod
    def select_for_training(
        self, trainables: tensor_types.TensorsByName, inputs: StepInputs
    ) -> tuple[tensor_types.TensorsByName, Tensor]:
        """The weights that `trainables` stand for, and an extra loss.

        Returns:
            Weights `[speakers, ...]` by tensor name, and a float scalar, the
            sum of the active speakers' losses from the selection itself.
        """

    @abc.abstractmethod
    def read(self, slot: int) -> dict[str, np.ndarray]:
        """The tensors of one Submodel."""

    def site_functions(
        self,
        weights: tensor_types.TensorsByName,
        dropout_masks: submodel_sites.DropoutMasks | None = None,
    ) -> sites.SiteFunctions:
        """The functions that a base model calls; see `sites.site_functions`."""
        return submodel_sites.site_functions(
            self.layout, weights, self.constants, dropout_masks
        )


class SubmodelOptimizer(Protocol):
    """Moves what a step differentiated by.

    Attributes:
        skipped: `[rows]` int32, steps whose gradient was not finite.
        shared_names: names in `state_by_name` that all speakers share; every
            other variable has a row for each slot.
    """

    skipped: rows.Variable

    @property
    def shared_names(self) -> collections.abc.Set[str]: ...

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
