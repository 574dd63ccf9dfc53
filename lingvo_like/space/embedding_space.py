"""A space of speaker embeddings: Submodels as mixtures of a shared basis.

`W_s = sum_e z[s, e] W[e]` (Biadsy et al. 2022, arXiv 2203.12559). The basis is
a stack whose slots are elements instead of speakers, and a speaker is a point z
of E numbers. The cost of training grows with E and not with the speakers.

The basis belongs to all speakers, so while it trains, a Submodel depends on all
of them. With a frozen basis, each embedding depends on its own speaker alone.
"""

from collections import abc
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from lingvo_like import device_random_streams, random_streams, tensor_types
from lingvo_like.space import (
    embeddings as embeddings_lib,
    encoder as space_encoder,
)
from lingvo_like.stack import rows, stack, trainable
from lingvo_like.submodel import layout as submodel_layout, selection

Tensor: TypeAlias = tensor_types.Tensor

EMBEDDING = "embedding"
MEAN = "mean_embedding"
BASIS = "basis/"
ENCODER = "encoder/"


class EmbeddingSpace(trainable.TrainableSubmodels):
    """The Submodels of speakers, as points in the span of a basis.

    Args:
        speakers: speaker ids; a speaker's slot is its position.
        embedding_dim: number of elements in the basis.
        constants: see `TrainableSubmodels`.
        normalization: one of `choices.NORMALIZATIONS`.
        initial_scale: the first embeddings have a standard deviation of
            `initial_scale / sqrt(embedding_dim)`.
        element_dropout_rate: probability, below 1, that an element is left out
            of a speaker's mix in a step.
        speaker_dropout_rate: probability that the mean embedding replaces a
            speaker's own in a step.
        prediction_rate: probability that the speaker encoder's prediction
            replaces it.
        encoder: speaker encoder to train with the space.
        basis_trainable: False while speakers enrol.

    Attributes:
        basis: `Stack` over the elements.
        embeddings: variable `[speakers, embedding_dim]`, before they are
            normalized.
        mean_embedding: variable `[embedding_dim]`, the mean of `embeddings`.
            The optimizer keeps it up to date; a newcomer may start there.
    """

    def __init__(
        self,
        speakers: abc.Iterable[str],
        layout: submodel_layout.Layout,
        embedding_dim: int,
        constants: submodel_layout.Constants | None = None,
        normalization: str = "none",
        initial_scale: float = 1.0,
        element_dropout_rate: float = 0.0,
        speaker_dropout_rate: float = 0.0,
        prediction_rate: float = 0.0,
        encoder: space_encoder.SpaceEncoder | None = None,
        basis_trainable: bool = True,
    ) -> None:
        super().__init__(speakers, layout, constants, name="embedding_space")
        if embedding_dim < 1:
            raise ValueError(
                f"`embedding_dim` must be positive. Received: {embedding_dim}."
            )
        embeddings_lib.check_normalization(normalization)
        self.basis = stack.Stack(
            [f"element_{i:03d}" for i in range(embedding_dim)],
            layout,
            constants,
        )
        self.embedding_dim = embedding_dim
        self.normalization = normalization
        self.initial_scale = initial_scale
        self.element_dropout_rate = element_dropout_rate
        self.speaker_dropout_rate = speaker_dropout_rate
        self.prediction_rate = prediction_rate
        self.encoder = encoder
        self.basis_trainable = basis_trainable
        self.embeddings: rows.Variable = tf.Variable(
            tf.zeros([self.num_slots, embedding_dim]), name="embeddings"
        )
        self.mean_embedding: rows.Variable = tf.Variable(
            tf.zeros([embedding_dim]), name="mean_embedding", trainable=False
        )

    @property
    def variables_by_name(self) -> dict[str, rows.Variable]:
        encoder = self.encoder.variables_by_name if self.encoder else {}
        return {
            EMBEDDING: self.embeddings,
            MEAN: self.mean_embedding,
            **_prefixed(BASIS, self.basis.variables_by_name),
            **_prefixed(ENCODER, encoder),
        }

    @property
    def shared_names(self) -> abc.Set[str]:
        return self.variables_by_name.keys() - {EMBEDDING}

    def initialize(self, seed: int) -> None:
        """Draws the basis and the embeddings; every Submodel is the identity.

        The elements start as a stack's slots do, with up projections of zero.
        A speaker's embedding comes from a stream of (seed, speaker).
        """
        self.basis.initialize(seed)
        if self.encoder:
            self.encoder.initialize(seed)
        scale = self.initial_scale / np.sqrt(self.embedding_dim)
        embeddings = []
        for speaker in self.speakers:
            stream = random_streams.generator("embedding", seed, speaker)
            embeddings.append(stream.standard_normal(self.embedding_dim))
        self.set_embeddings(scale * np.stack(embeddings))

    def set_embeddings(self, embeddings: Tensor) -> None:
        """Puts all speakers' `[speakers, embedding_dim]`, and their mean."""
        embeddings = np.asarray(embeddings, np.float32)
        self.embeddings.assign(embeddings)
        self.mean_embedding.assign(embeddings.mean(axis=0))

    def set_basis(self, basis: tensor_types.TensorsByName) -> None:
        """Puts the elements `[embedding_dim, ...]`, by tensor name."""
        for name, variable in self.basis.variables_by_name.items():
            variable.assign(basis[name])

    def trainables(self, row_indices: Tensor) -> dict[str, Tensor]:
        """The tensors that a step differentiates by.

        They are `EMBEDDING`, the speakers' `[speakers, embedding_dim]`; and,
        unless the basis is frozen, the elements, named `BASIS` + name, and the
        weights of the speaker encoder, named `ENCODER` + name.
        """
        result = selection.select({EMBEDDING: self.embeddings}, row_indices)
        if self.basis_trainable:
            result |= _prefixed(BASIS, self._elements())
            if self.encoder:
                result |= _prefixed(ENCODER, self.encoder.tensors())
        return result

    def select(self, row_indices: Tensor) -> dict[str, Tensor]:
        embeddings = selection.select({EMBEDDING: self.embeddings}, row_indices)
        return self._mix(embeddings[EMBEDDING], self._elements())

    def select_for_training(
        self,
        trainables: tensor_types.TensorsByName,
        inputs: trainable.StepInputs,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The weights of a training step, and the speaker encoder's loss.

        Elements and speakers are dropped by each speaker's own seed. The loss
        is the sum over active speakers of the squared distance between
        predicted and learned embeddings, both normalized; the learned ones get
        no gradient from it.
        """
        heard = self._listen(inputs)
        draws = device_random_streams.uniform(
            [2 + self.embedding_dim],
            # A stream of its own, beside that of the adapters' dropout.
            device_random_streams.fold_in(inputs.seeds, 1),
        )
        embeddings = self._replace(trainables, draws[:, :2], heard)
        rate = self.element_dropout_rate
        keeping = tf.where(draws[:, 2:] >= rate, 1.0 / (1.0 - rate), 0.0)
        elements = self._elements()
        if self.basis_trainable:
            elements = without_prefix(BASIS, trainables)
        weights = self._mix(embeddings, elements, keeping)
        return weights, self._prediction_loss(trainables, heard, inputs.active)

    def _elements(self) -> dict[str, tf.Tensor]:
        return {
            name: tf.convert_to_tensor(variable)
            for name, variable in self.basis.variables_by_name.items()
        }

    def _normalize(self, embeddings):
        return embeddings_lib.normalize(embeddings, self.normalization)

    def _mix(self, embeddings, elements, keeping: Tensor = 1.0):
        return selection.select(elements, keeping * self._normalize(embeddings))

    def _listen(self, inputs: trainable.StepInputs) -> Tensor | None:
        """The input of the speaker encoder; None where none is trained."""
        if not self.encoder or not self.basis_trainable:
            return None
        return self.encoder.statistics(
            tf.cast(inputs.activations, tf.float32),
            inputs.paddings,
            inputs.utterance_weights,
        )

    def _predict(self, trainables, heard):
        encoder: Any = self.encoder
        return encoder.predict(without_prefix(ENCODER, trainables), heard)

    def _replace(self, trainables, draws, heard):
        """Puts the mean or the prediction in place of some embeddings."""
        result = trainables[EMBEDDING]
        if self.speaker_dropout_rate:
            mean = tf.convert_to_tensor(self.mean_embedding)[None]
            dropped = draws[:, :1] < self.speaker_dropout_rate
            result = tf.where(dropped, mean, result)
        if heard is not None and self.prediction_rate:
            predicted = self._predict(trainables, heard)
            replaced = draws[:, 1:] < self.prediction_rate
            result = tf.where(replaced, predicted, result)
        return result

    def _prediction_loss(self, trainables, heard, active):
        if heard is None:
            return 0.0
        predicted = self._normalize(self._predict(trainables, heard))
        learned = self._normalize(tf.stop_gradient(trainables[EMBEDDING]))
        distances = tf.reduce_sum(tf.square(predicted - learned), axis=1)
        return tf.reduce_sum(tf.where(active, distances, 0.0))

    def read(self, slot: int) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(weights[0])
            for name, weights in self.select([slot]).items()
        }


def _prefixed(prefix: str, tensors: abc.Mapping) -> dict:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: abc.Mapping) -> dict:
    """The tensors whose names start with `prefix`, by the rest of the name."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
