"""Sums over the replicas of a distribution strategy."""

import contextlib
import contextvars

import tensorflow as tf

_sum = contextvars.ContextVar("sum", default=None)


@contextlib.contextmanager
def summed_by(function):
    """What is traced inside sums over replicas by a function of its own.

    A program that is compiled for chips which are not there has no strategy.

    Args:
        function: of a tensor that returns its sum over all replicas; None for
            that of the strategy.
    """
    token = _sum.set(function)
    try:
        yield
    finally:
        _sum.reset(token)


def over_replicas(tensors):
    """The sum of each tensor over all replicas of the step that is running.

    Args:
        tensors: a structure of tensors.

    Returns:
        a structure like it; where there is one replica, `tensors` itself.
    """
    if _sum.get() is not None:
        return tf.nest.map_structure(_sum.get(), tensors)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
