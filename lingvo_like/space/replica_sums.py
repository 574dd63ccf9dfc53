"""Sums over the replicas of a distribution strategy."""

import contextlib
import contextvars
from collections import abc
from typing import Any

import tensorflow as tf

_sum: contextvars.ContextVar[Any] = contextvars.ContextVar("sum", default=None)


@contextlib.contextmanager
def summed_by(
    function: abc.Callable[[tf.Tensor], tf.Tensor] | None,
) -> abc.Iterator[None]:
    """Sums over replicas by another function, in what is traced inside.

    A program that is compiled for chips which are not there has no strategy.

    Args:
        function: returns a tensor's sum over all replicas; None for the
            strategy's own.
    """
    token = _sum.set(function)
    try:
        yield
    finally:
        _sum.reset(token)


def over_replicas(tensors: Any) -> Any:
    """A structure of tensors, each summed over the step's replicas."""
    if _sum.get() is not None:
        return tf.nest.map_structure(_sum.get(), tensors)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
