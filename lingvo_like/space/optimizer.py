"""AdamW over a space: each embedding an optimizer of its own, one basis."""

from collections import abc

import tensorflow as tf

from lingvo_like import tensor_types
from lingvo_like.space import embedding_space, replica_sums
from lingvo_like.stack import rows, slot_adamw

_OWN = "embedding/"


class SpaceAdamW(tf.Module):
    """The optimizer of an `EmbeddingSpace`; takes the place of `SlotAdamW`.

    A step reads and writes only its own speakers' embeddings, so an absent
    speaker's stays as it is, bit for bit, and a step costs the same for any
    number of speakers. The basis and the speaker encoder, which they share,
    move by the mean of the active speakers' gradients, at the learning rate of
    the mean of their step counts: all speakers reach the end of the schedule
    together, however many steps of the job that takes. Where replicas share a
    step, the mean is over the speakers of all replicas.

    Args:
        embeddings: moves `{EMBEDDING: space.embeddings}`.
        basis: moves the basis, in a slot for each element; None where the basis
            is frozen, and the mean embedding with it.
        encoder: moves the speaker encoder, in one slot.

    Raises:
        ValueError: a basis is frozen and has an optimizer, or neither.
    """

    def __init__(
        self,
        space: embedding_space.EmbeddingSpace,
        embeddings: slot_adamw.SlotAdamW,
        basis: slot_adamw.SlotAdamW | None = None,
        encoder: slot_adamw.SlotAdamW | None = None,
    ) -> None:
        super().__init__(name="space_adamw")
        if (basis is not None) != space.basis_trainable:
            raise ValueError(
                "a basis needs an optimizer unless it is frozen, and a frozen "
                "basis takes none"
            )
        self._space = space
        self.embeddings = embeddings
        self.basis, self.encoder = basis, encoder
        # The optimizer and the number of slots of each part that is shared.
        self._shared: dict[str, tuple[slot_adamw.SlotAdamW, int]] = {}
        if basis is not None:
            self._shared[embedding_space.BASIS] = (basis, space.embedding_dim)
        if encoder is not None:
            self._shared[embedding_space.ENCODER] = (encoder, 1)
        self.steps = embeddings.steps
        self.skipped = embeddings.skipped

    @property
    def state_by_name(self) -> dict[str, rows.Variable]:
        parts = {_OWN: self.embeddings}
        parts |= {prefix: part for prefix, (part, _) in self._shared.items()}
        return {
            prefix + name: variable
            for prefix, part in parts.items()
            for name, variable in part.state_by_name.items()
        }

    @property
    def shared_names(self) -> abc.Set[str]:
        return {
            name for name in self.state_by_name if not name.startswith(_OWN)
        }

    def update(
        self,
        row_indices: tf.Tensor,
        active: tf.Tensor,
        trainables: tensor_types.TensorsByName,
        gradients: tensor_types.TensorsByName,
    ) -> tf.Tensor:
        """One step of the speakers that are active, and of what they share.

        Args:
            row_indices, active: see `SlotAdamW.update`.
            trainables: from `EmbeddingSpace.trainables(row_indices)`.
            gradients: like `trainables`, of the sum of the speakers' losses.

        Returns:
            The gradient norm of each speaker's embedding before clipping,
            `[speakers]`.
        """
        name = embedding_space.EMBEDDING
        before, gradient = trainables[name], gradients[name]
        norms = self.embeddings.update(
            row_indices, active, {name: before}, {name: gradient}
        )
        if self._shared:
            self._update_mean(row_indices, before)
            self._update_shared(row_indices, active, trainables, gradients)
        return norms

    def _update_mean(self, row_indices, before):
        # The mean moves by what changed, since a mean over all embeddings would
        # cost more with every speaker.
        change = tf.gather(self._space.embeddings, row_indices) - before
        change = replica_sums.over_replicas(tf.reduce_sum(change, axis=0))
        self._space.mean_embedding.assign_add(change / self._space.num_slots)

    def _update_shared(self, row_indices, active, trainables, gradients):
        present = tf.cast(active, tf.float32)
        steps = tf.cast(tf.gather(self.steps, row_indices), tf.float32)
        num_active, sum_of_steps, sums = replica_sums.over_replicas(
            (
                tf.reduce_sum(present),
                tf.reduce_sum(steps * present),
                {
                    prefix: embedding_space.without_prefix(prefix, gradients)
                    for prefix in self._shared
                },
            )
        )
        count = tf.maximum(num_active, 1.0)
        for prefix, (shared, num_slots) in self._shared.items():
            shared.update(
                tf.range(num_slots),
                tf.fill([num_slots], num_active > 0.0),
                embedding_space.without_prefix(prefix, trainables),
                {name: each / count for name, each in sums[prefix].items()},
                shared.rule.learning_rate_at(sum_of_steps / count),
            )
