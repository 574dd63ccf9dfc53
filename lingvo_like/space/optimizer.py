"""AdamW over a space: each embedding an optimiser of its own, one basis."""

import tensorflow as tf

from lingvo_like.space import embedding_space, replica_sums


class SpaceAdamW(tf.Module):
    """The optimiser of an `EmbeddingSpace`; takes the place of `SlotAdamW`.

    Only the embeddings of a step are read and written, so an absent speaker's
    stays as it is, bit for bit, and a step costs the same for any number of
    speakers. What they share, the basis and the speaker encoder, moves by the
    mean of the active speakers' gradients, at the learning rate of the mean of
    their step counts: all speakers reach the end of its schedule together,
    however many steps of the job that takes. Where replicas share a step, the
    mean is over the speakers of all of them, and every replica moves its copy
    by the same.

    Args:
        space: `EmbeddingSpace`.
        embeddings: `SlotAdamW` over `{EMBEDDING: space.embeddings}`.
        basis: `SlotAdamW` over the basis, a slot for each element; None where
            the basis is frozen, and the mean embedding with it.
        encoder: `SlotAdamW` over the speaker encoder, in one slot; or None.

    Attributes:
        embeddings, basis, encoder: as given.
        steps, skipped, learning_rate_scale: those of `embeddings`.
    """

    def __init__(self, space, embeddings, basis=None, encoder=None):
        super().__init__(name="space_adamw")
        if (basis is not None) != space.basis_trainable:
            raise ValueError("a frozen basis takes no optimizer, another needs")
        self._space = space
        self.embeddings = embeddings
        self.basis, self.encoder = basis, encoder
        # What all speakers share, each with the count of its slots.
        self._shared = {}
        if basis is not None:
            self._shared[embedding_space.BASIS] = (basis, space.embedding_dim)
        if encoder is not None:
            self._shared[embedding_space.ENCODER] = (encoder, 1)
        self.steps = embeddings.steps
        self.skipped = embeddings.skipped
        self.learning_rate_scale = embeddings.learning_rate_scale

    @property
    def state_by_name(self):
        """Every variable of the optimiser by a stable name."""
        state = {
            f"embedding/{name}": variable
            for name, variable in self.embeddings.state_by_name.items()
        }
        for prefix, (shared, _) in self._shared.items():
            state |= {
                prefix + name: variable
                for name, variable in shared.state_by_name.items()
            }
        return state

    def update(self, slots, active, trainables, gradients):
        """One step of the slots that are active, and of what they share.

        Args:
            slots: `[speakers]` int32, all different.
            active: `[speakers]` bool, False where a place is empty.
            trainables: dict from `EmbeddingSpace.trainables(slots)`.
            gradients: dict like it, of the sum of the speakers' losses.

        Returns:
            The gradient norm of each speaker's embedding before clipping,
            `[speakers]`.
        """
        name = embedding_space.EMBEDDING
        norms = self.embeddings.update(
            slots,
            active,
            {name: trainables[name]},
            {name: gradients[name]},
        )
        if self._shared:
            self._update_mean(slots, trainables[name])
            self._update_shared(slots, active, trainables, gradients)
        return norms

    def _update_mean(self, slots, before):
        # By what changed: a mean over all would grow with the speakers.
        change = tf.gather(self._space.embeddings, slots) - before
        change = replica_sums.over_replicas(tf.reduce_sum(change, axis=0))
        self._space.mean_embedding.assign_add(change / self._space.num_slots)

    def _update_shared(self, slots, active, trainables, gradients):
        present = tf.cast(active, tf.float32)
        steps = tf.cast(tf.gather(self.steps, slots), tf.float32)
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
                shared.learning_rate_at(sum_of_steps / count),
            )
