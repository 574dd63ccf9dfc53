"""The replicas that share a job, and how a step runs on them."""

import contextlib
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tpu.distribute import processes as processes_lib

Batch = abc.Mapping[str, Any]


class Replicas:
    """The replicas of a strategy, in this process and in all.

    Args:
        strategy: None or TensorFlow's default strategy for one replica.

    Attributes:
        strategy: None where a step runs without one.
        num_replicas: in all processes.
        num_local: in this process.
        local: the indices of this process's replicas among all.

    Raises:
        ValueError: `TF_CONFIG` is incomplete.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        if strategy is tf.distribute.get_strategy():
            strategy = None
        self.strategy = strategy
        self.processes = processes_lib.Processes(strategy)
        self.num_replicas = strategy.num_replicas_in_sync if strategy else 1
        self.num_local = self.num_replicas // self.processes.count
        first = self.processes.index * self.num_local
        self.local = range(first, first + self.num_local)

    @property
    def is_plain(self) -> bool:
        """Whether a step runs without a strategy."""
        return self.strategy is None

    @property
    def has_accelerators(self) -> bool:
        """Whether steps run on GPUs or TPUs, which have memory of their own."""
        return any(
            tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")
        )

    def of_process(self) -> "Replicas":
        """The replicas for work that this process does by itself."""
        # A strategy of several processes does nothing without the others.
        return self if self.processes.count == 1 else Replicas()

    def scope(self) -> contextlib.AbstractContextManager:
        """The scope in which the variables of a step are made."""
        return (
            self.strategy.scope() if self.strategy else contextlib.nullcontext()
        )

    def replicate(self, method: abc.Callable[..., Any]) -> "Replicated":
        """A step as a call for all the replicas of this process.

        Args:
            method: a function of a dict of tensors, and maybe more arguments.
                A `tf.function` is traced as the Python function that it is:
                replicas cannot communicate inside another graph.
        """
        return Replicated(method, self)


class Replicated:
    """A step on all the replicas of this process; see `Replicas.replicate`.

    Call arguments:
        batches: one dict of tensors for each replica.
        *arguments: tensors, the same for all.

    Returns:
        what the step returns on each replica, as NumPy arrays.
    """

    def __init__(self, method: abc.Callable[..., Any], replicas: Replicas):
        self._method = method
        self._strategy: Any = replicas.strategy
        self._replicas = replicas
        self._python = getattr(method, "python_function", method)
        self._run: Any = tf.function(self._run_all, autograph=False)

    @property
    def tracing_count(self) -> int:
        """The number of times that the step was traced."""
        traced: Any = self._method if self._strategy is None else self._run
        return traced.experimental_get_tracing_count()

    def graph(self, batches: abc.Sequence[Batch], *arguments: Any) -> tf.Graph:
        """The graph of the whole step for such batches."""
        own = self._distribute(batches)
        return self._run.get_concrete_function(own, arguments).graph

    def __call__(
        self, batches: abc.Sequence[Batch], *arguments: Any
    ) -> list[Any]:
        if self._strategy is None:
            return [_numpy(self._method(batches[0], *arguments))]
        with self._replicas.processes.together():
            found = self._run(self._distribute(batches), arguments)
        leaves = [
            self._strategy.experimental_local_results(leaf)
            for leaf in tf.nest.flatten(found)
        ]
        return [
            _numpy(tf.nest.pack_sequence_as(found, of_replica))
            for of_replica in zip(*leaves, strict=True)
        ]

    def _run_all(self, batch, arguments):
        # A function of its own: AutoGraph would unwrap a method to no object.
        def step(*own: Any) -> Any:
            return self._python(*own)

        return self._strategy.run(step, (batch, *arguments))

    def _distribute(self, batches):
        count = self._replicas.num_local
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group % count]
        )


def _numpy(structure):
    return tf.nest.map_structure(np.asarray, structure)
