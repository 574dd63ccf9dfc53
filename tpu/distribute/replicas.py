"""The replicas that share a job, and how a step runs on them."""

import contextlib

import numpy as np
import tensorflow as tf

from tpu.distribute import workers as workers_lib


class Replicas:
    """The replicas of a strategy, and this process's own.

    Args:
        strategy: `tf.distribute.Strategy`; None or TensorFlow's default one
            for one replica, which changes nothing.
        workers: `Workers`, the processes that share a job; those of the
            strategy and of `TF_CONFIG` if not given.

    Attributes:
        num_replicas: int, in all processes.
        num_local: int, in this process.
        first_local: int, this process's first among all.
        workers: `Workers`, the processes.
        is_plain: bool, whether a step runs without a strategy.

    Raises:
        ValueError, OSError: as `Workers`, or the processes' replicas differ
            in number.
    """

    def __init__(self, strategy=None, workers=None):
        self.is_plain = strategy is None or (
            strategy is tf.distribute.get_strategy()
        )
        self._strategy = None if self.is_plain else strategy
        self.workers = workers or workers_lib.Workers(self._strategy)
        in_sync = 1 if self.is_plain else strategy.num_replicas_in_sync
        if self.workers.in_one_strategy:
            self.num_replicas = in_sync
            self.num_local = in_sync // self.workers.count
        else:
            self.num_replicas = in_sync * self.workers.count
            self.num_local = in_sync
            self.workers.check_same("the number of replicas", in_sync)
        self.first_local = self.workers.index * self.num_local

    def of_process(self):
        """The `Replicas` of this process, for what it does by itself."""
        strategy = self._strategy
        if self.workers.count > 1 and self.workers.in_one_strategy:
            # It does nothing without the others.
            strategy = None
        return Replicas(strategy, workers_lib.Workers())

    @property
    def local(self):
        """This process's own among all, a range."""
        return range(self.first_local, self.first_local + self.num_local)

    def scope(self):
        """Where the variables of a step are made."""
        if self.is_plain:
            return contextlib.nullcontext()
        return self._strategy.scope()

    def replicate(self, method):
        """A step as a call for all the replicas of this process.

        Args:
            method: a function of a dict of tensors, and maybe more arguments.
                A `tf.function` is traced as the Python function that it is:
                replicas cannot meet inside of another graph.

        Returns:
            `Replicated`.
        """
        return Replicated(method, self._strategy, self)


class Replicated:
    """A step on all the replicas of this process.

    Call arguments:
        batches: list of dicts of tensors, one for each replica.
        *arguments: tensors, the same for all.

    Returns:
        list of what each replica's step returns, as NumPy arrays.
    """

    def __init__(self, method, strategy, replicas):
        self._method = method
        self._strategy = strategy
        self._replicas = replicas
        self._python = getattr(method, "python_function", method)

    @property
    def tracing_count(self):
        """How often the step was traced."""
        traced = self._method if self._strategy is None else self._run
        return traced.experimental_get_tracing_count()

    def graph(self, batches, *arguments):
        """The graph of the whole step for such batches, a `FuncGraph`."""
        return self._run.get_concrete_function(
            self._distribute(batches), arguments
        ).graph

    def __call__(self, batches, *arguments):
        if self._strategy is None:
            return [_numpy(self._method(batches[0], *arguments))]
        with self._replicas.workers.together():
            found = self._run(self._distribute(batches), arguments)
        leaves = [
            self._strategy.experimental_local_results(leaf)
            for leaf in tf.nest.flatten(found)
        ]
        return [
            _numpy(
                tf.nest.pack_sequence_as(found, [leaf[i] for leaf in leaves])
            )
            for i in range(self._replicas.num_local)
        ]

    @tf.function(autograph=False)
    def _run(self, batch, arguments):
        # A function of its own: AutoGraph would unwrap a method to no object.
        def step(*own):
            return self._python(*own)

        return self._strategy.run(step, (batch, *arguments))

    def _distribute(self, batches):
        count = self._replicas.num_local
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group % count]
        )


def _numpy(structure):
    return tf.nest.map_structure(np.asarray, structure)
