"""Sums over the replicas of a distribution strategy."""

import tensorflow as tf


def over_replicas(tensors):
    """The sum of each tensor over all replicas of the step that is running.

    Args:
        tensors: a structure of tensors.

    Returns:
        a structure like it; where there is one replica, `tensors` itself.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
