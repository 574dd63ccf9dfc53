"""What the processes of one job tell each other."""

import contextlib
import json
import re

import numpy as np
import tensorflow as tf

# Four-byte words of one exchange of values, at least.
_WORDS = 1024
# What TensorFlow says of it, between much else.
_REASON = re.compile(r"Collective ops is aborted by: (.*)")


class Workers:
    """The processes of a strategy.

    Args:
        strategy: `tf.distribute.Strategy`, or None for this process alone.

    Attributes:
        count: int, processes that run the same program.
        index: int, this one's place among them.
    """

    def __init__(self, strategy=None):
        self._strategy = strategy
        self.count, self.index = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            cluster = resolver.cluster_spec().as_dict()
            # TensorFlow numbers a chief first, and the workers after it.
            before = len(cluster.get("chief", ()))
            self.count = before + len(cluster.get("worker", ()))
            self.index = resolver.task_id
            if resolver.task_type == "worker":
                self.index += before

    @property
    def is_chief(self):
        """Whether this process writes what the job leaves once."""
        return self.index == 0

    def gather(self, value=None):
        """Everybody's value; a meeting that all the processes come to.

        Args:
            value: what JSON holds.

        Returns:
            list of the processes' values, by index.

        Raises:
            OSError: one of them died, so that nobody can go on.
        """
        if self.count == 1:
            return [value]
        data = json.dumps(value).encode()
        lengths = [int(row[0]) for row in self._exchange([len(data)], 1)]
        longest = -(-max(lengths) // 4)
        # Few sizes, since each is a program of its own.
        words = _WORDS
        while words < longest:
            words *= 8
        padded = data + bytes(4 * words - len(data))
        rows = self._exchange(np.frombuffer(padded, "<i4"), words)
        return [
            json.loads(row.astype("<i4").tobytes()[:length])
            for row, length in zip(rows, lengths, strict=True)
        ]

    @contextlib.contextmanager
    def together(self):
        """Where all processes have to be, or nobody can go on.

        Raises:
            OSError: one of them died.
        """
        try:
            yield
        except tf.errors.OpError as error:
            reason = _REASON.search(error.message)
            if self.count == 1 or reason is None:
                raise
            raise OSError(
                "another process of the job died or was stopped; start the "
                "same command on every machine again and it goes on from the "
                f"last checkpoint ({reason[1]})"
            ) from error

    def _exchange(self, words, length):
        """Rows `[processes, length]` int32, this one's being `words`."""
        row = tf.constant(np.reshape(words, [1, length]), tf.int32)
        strategy = self._strategy
        with self.together():
            found = self._gather_rows(
                strategy.experimental_distribute_values_from_function(
                    lambda context: row
                )
            )
        rows = strategy.experimental_local_results(found)[0].numpy()
        # Each replica brought its process's row.
        return rows[:: strategy.num_replicas_in_sync // self.count]

    @tf.function(autograph=False)
    def _gather_rows(self, rows):
        def gather(row):
            # Only a tensor that was made on a device is gathered from there.
            return tf.distribute.get_replica_context().all_gather(
                tf.identity(row), axis=0
            )

        return self._strategy.run(gather, (rows,))
