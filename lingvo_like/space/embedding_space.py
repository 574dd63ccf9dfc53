"""A space of speaker embeddings: Submodels as mixtures of a shared basis.

`W_s = sum_e z[s, e] W[e]` (Biadsy et al. 2022, arXiv 2203.12559): the basis is
a stack whose slots are elements instead of speakers, and a speaker is a point
z of E numbers. What training costs grows with E and not with the speakers.

The basis belongs to all speakers, so a Submodel depends on them all while it
is trained. With the basis frozen, each embedding depends on its own speaker
alone; and a mixture, once written to a file, changes no more.
"""

import numpy as np
import tensorflow as tf

from lingvo_like import device_random_streams, random_streams
from lingvo_like.space import embeddings as embeddings_lib
from lingvo_like.stack import stack

EMBEDDING = "embedding"
BASIS = "basis/"
ENCODER = "encoder/"


class EmbeddingSpace(stack.SpeakerSlots):
    """The Submodels of speakers, as points in the span of a basis.

    What `stack.Stack` is to a job of slots; the two share the methods that a
    training step uses.

    Args:
        speakers: sequence of speaker ids; a speaker's slot is its position.
        layout: `submodel_layout.Layout`, the tensors of one Submodel.
        embedding_dim: int, elements of the basis.
        residual_weight: float, of the adapters.
        normalization: one of `embeddings.NORMALIZATIONS`.
        initial_scale: float, standard deviation of the first embeddings,
            times `1 / sqrt(embedding_dim)`.
        element_dropout_rate: float in [0, 1), how often an element is left
            out of a speaker's mix in a step.
        speaker_dropout_rate: float in [0, 1), how often the mean embedding
            stands for a speaker's own in a step.
        prediction_rate: float in [0, 1), how often the speaker encoder's
            prediction does.
        encoder: `SpaceEncoder` to train with the space, or None.
        basis_trainable: bool; False while speakers enrol.

    Attributes:
        basis: `Stack` over the elements.
        embeddings: variable `[speakers, embedding_dim]`, before they are
            normalised.
        mean_embedding: variable `[embedding_dim]`, the mean of `embeddings`,
            kept up to date by the optimiser; where a newcomer may start.
    """

    def __init__(
        self,
        speakers,
        layout,
        embedding_dim,
        residual_weight=1.0,
        normalization="none",
        initial_scale=1.0,
        element_dropout_rate=0.0,
        speaker_dropout_rate=0.0,
        prediction_rate=0.0,
        encoder=None,
        basis_trainable=True,
    ):
        super().__init__(speakers, name="embedding_space")
        if embedding_dim < 1:
            raise ValueError(
                f"`embedding_dim` must be positive. Received: {embedding_dim}."
            )
        embeddings_lib.check_normalization(normalization)
        self.basis = stack.Stack(
            [f"element_{i:03d}" for i in range(embedding_dim)],
            layout,
            residual_weight,
        )
        self.embedding_dim = embedding_dim
        self.normalization = normalization
        self.initial_scale = initial_scale
        self.element_dropout_rate = element_dropout_rate
        self.speaker_dropout_rate = speaker_dropout_rate
        self.prediction_rate = prediction_rate
        self.encoder = encoder
        self.basis_trainable = basis_trainable
        self.embeddings = tf.Variable(
            tf.zeros([self.num_slots, embedding_dim]), name="embeddings"
        )
        self.mean_embedding = tf.Variable(
            tf.zeros([embedding_dim]), name="mean_embedding", trainable=False
        )

    @property
    def layout(self):
        return self.basis.layout

    @property
    def residual_weight(self):
        return self.basis.residual_weight

    @property
    def variables_by_name(self):
        """Every variable by a stable name."""
        encoder = self.encoder.variables_by_name if self.encoder else {}
        return {
            EMBEDDING: self.embeddings,
            "mean_embedding": self.mean_embedding,
            **_prefixed(BASIS, self.basis.variables_by_name),
            **_prefixed(ENCODER, encoder),
        }

    def initialize(self, seed):
        """Draws the basis and the embeddings; every Submodel is the identity.

        The elements start as a stack's slots do, with up projections of zero;
        a speaker's embedding comes from a stream of (seed, speaker).
        """
        self.basis.initialize(seed)
        if self.encoder:
            self.encoder.initialize(seed)
        scale = self.initial_scale / np.sqrt(self.embedding_dim)
        self.set_embeddings(
            np.stack(
                [
                    random_streams.generator(
                        "embedding", seed, speaker
                    ).standard_normal(self.embedding_dim)
                    * scale
                    for speaker in self.speakers
                ]
            )
        )

    def set_embeddings(self, embeddings):
        """Puts all speakers `[speakers, embedding_dim]`, and their mean."""
        embeddings = np.asarray(embeddings, np.float32)
        self.embeddings.assign(embeddings)
        self.mean_embedding.assign(embeddings.mean(axis=0))

    def set_basis(self, basis):
        """Puts the elements: dict of name to `[embedding_dim, ...]`."""
        for name, variable in self.basis.variables_by_name.items():
            variable.assign(basis[name])

    def trainables(self, slots):
        """What a step differentiates by.

        Args:
            slots: `[speakers]` int32.

        Returns:
            dict: `EMBEDDING`, the slots' `[speakers, embedding_dim]`; and,
            unless the basis is frozen, its tensors, named `BASIS` + name, and
            the speaker encoder's, `ENCODER` + name.
        """
        result = {EMBEDDING: tf.gather(self.embeddings, slots)}
        if self.basis_trainable:
            result |= self._elements()
            if self.encoder:
                result |= _prefixed(ENCODER, self.encoder.tensors())
        return result

    def _elements(self):
        return {
            BASIS + name: tf.convert_to_tensor(variable)
            for name, variable in self.basis.variables_by_name.items()
        }

    def listen(self, activations, paddings, weights):
        """What the speaker encoder hears of a step; None without one.

        Args:
            activations: `[speakers * utterances, time, model_dim]`.
            paddings: `[speakers * utterances, time]`.
            weights: `[speakers, utterances]`, 0 where one is only filling.
        """
        if not self.encoder or not self.basis_trainable:
            return None
        return self.encoder.statistics(activations, paddings, weights)

    def rows(self, trainables, seeds=None, heard=None):
        """The Submodels `[speakers, ...]` that `trainables` stand for.

        Args:
            trainables: dict from `trainables`.
            seeds: `[speakers, 2]` int32, each speaker's own, to drop elements
                and speakers by; None for no dropout.
            heard: from `listen`, where there are seeds.

        Returns:
            dict of name to `[speakers, ...]`.
        """
        embeddings, keeping = trainables[EMBEDDING], 1.0
        if seeds is not None:
            draws = self._draws(seeds)
            embeddings = self._replace(trainables, draws[:, :2], heard)
            rate = self.element_dropout_rate
            keeping = tf.where(draws[:, 2:] >= rate, 1.0 / (1.0 - rate), 0.0)
        weights = keeping * embeddings_lib.normalize(
            embeddings, self.normalization
        )
        elements = trainables if self.basis_trainable else self._elements()
        return {
            name: embeddings_lib.mix(weights, elements[BASIS + name])
            for name in self.layout.shapes
        }

    def _draws(self, seeds):
        """Uniform `[speakers, 2 + embedding_dim]`, each from its own seed."""
        return device_random_streams.uniform(
            [2 + self.embedding_dim],
            # A stream of its own, beside that of the adapters' dropout.
            device_random_streams.fold_in(seeds, 1),
        )

    def _replace(self, trainables, draws, heard):
        """Embeddings with the mean or the prediction in place of some."""
        result = trainables[EMBEDDING]
        if self.speaker_dropout_rate:
            result = tf.where(
                draws[:, :1] < self.speaker_dropout_rate,
                tf.convert_to_tensor(self.mean_embedding)[None],
                result,
            )
        if heard is not None and self.prediction_rate:
            result = tf.where(
                draws[:, 1:] < self.prediction_rate,
                self._predict(trainables, heard),
                result,
            )
        return result

    def _predict(self, trainables, heard):
        tensors = without_prefix(ENCODER, trainables)
        return self.encoder.predict(tensors, heard)

    def prediction_loss(self, trainables, heard, active):
        """How far the speaker encoder's predictions are from what is learned.

        Args:
            trainables: dict from `trainables`.
            heard: from `listen`.
            active: `[speakers]` bool.

        Returns:
            float scalar, the sum over active speakers of the squared distance
            of what they mix by; the learned embeddings get no gradient.
        """
        if heard is None:
            return 0.0
        predicted, learned = (
            embeddings_lib.normalize(each, self.normalization)
            for each in (
                self._predict(trainables, heard),
                tf.stop_gradient(trainables[EMBEDDING]),
            )
        )
        distances = tf.reduce_sum(tf.square(predicted - learned), axis=1)
        return tf.reduce_sum(tf.where(active, distances, 0.0))

    def gather(self, slots):
        """Rows of the slots `[speakers]`: dict of name to `[speakers, ...]`."""
        return self.rows(self.trainables(slots))

    def adapter_functions(self, rows, dropout_masks=None):
        """As `stack.Stack.adapter_functions`."""
        return self.basis.adapter_functions(rows, dropout_masks)

    def row(self, slot):
        """One Submodel's tensors: dict of name to a NumPy array."""
        return {
            name: np.asarray(rows[0])
            for name, rows in self.gather([slot]).items()
        }


def _prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix, tensors):
    """Those of a dict whose names start with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
