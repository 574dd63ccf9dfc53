"""What the processes of one job tell each other."""

import contextlib
import hashlib
import json
import re

import numpy as np
import tensorflow as tf

from tpu.distribute import cluster, meeting

# Four-byte words of one exchange of values, at least.
_WORDS = 1024
# What TensorFlow says of it, between much else.
_REASON = re.compile(r"Collective ops is aborted by: (.*)")
_GONE = (
    "another process of the job died or was stopped; start the same command on "
    "every machine again; a training goes on from its last checkpoint ({})"
)


class Workers:
    """The processes of one job.

    Args:
        strategy: `tf.distribute.Strategy`, or None for this process alone.

    Attributes:
        count: int, processes that run the same program.
        index: int, this one's place among them.
        in_one_strategy: bool, whether the strategy spans them, so that what
            its replicas sum is summed over all processes.

    Raises:
        ValueError: `TF_CONFIG` is not whole.
        OSError: the others do not come.
    """

    def __init__(self, strategy=None):
        self._strategy = strategy
        self._meeting = None
        self.count, self.index = 1, 0
        processes = None if strategy is None else cluster.from_environment()
        if processes is not None:
            self.count, self.index = len(processes.addresses), processes.index
        self.in_one_strategy = self.count == 1 or isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        )
        if not self.in_one_strategy:
            self._meeting = meeting.Meeting(processes)

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
        if self._meeting is not None:
            try:
                return list(map(json.loads, self._meeting.exchange(data)))
            except OSError as error:
                raise OSError(_GONE.format(error)) from error
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

    def check_same(self, what, value):
        """Refuses processes that are not of one mind; a meeting.

        Args:
            what: str, how the message calls it.
            value: what JSON holds, which all must have.

        Raises:
            ValueError: some have another than the first process.
        """
        if self.count == 1:
            return
        text = json.dumps(value, sort_keys=True).encode()
        found = self.gather(hashlib.sha256(text).hexdigest())
        others = [str(i) for i, each in enumerate(found) if each != found[0]]
        if others:
            raise ValueError(
                f"{what} must be the same in all {self.count} processes of "
                f"TF_CONFIG; process {', '.join(others)} has not what process "
                "0 has"
            )

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
            raise OSError(_GONE.format(reason[1])) from error

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
