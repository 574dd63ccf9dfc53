"""The processes of one job, and the values that they exchange."""

import contextlib
import hashlib
import json
import re
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tpu.distribute import cluster

# The smallest message, in four-byte words.
_WORDS = 1024
# The part of TensorFlow's message that names the cause.
_REASON = re.compile(r"Collective ops is aborted by: (.*)")


class Processes:
    """The processes of one job; every method is called by all of them.

    They talk through the collectives of the strategy that spans them.

    Args:
        strategy: of this job. Only a `MultiWorkerMirroredStrategy` spans
            several processes, those of `TF_CONFIG`.

    Attributes:
        index: this process's place among them.

    Raises:
        ValueError: `TF_CONFIG` is incomplete.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self._strategy = strategy
        self.count, self.index = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            found = cluster.from_environment()
            if found is not None:
                self.count, self.index = len(found.addresses), found.index

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what a job writes once."""
        return self.index == 0

    def gather(self, value: Any = None) -> list[Any]:
        """Waits for all processes; returns their values, as JSON holds them.

        Raises:
            OSError: another process died.
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

    def check_same(self, what: str, value: Any) -> None:
        """Refuses to go on unless all processes have the same JSON value.

        Args:
            what: the value's name in the message.

        Raises:
            ValueError: some processes have another value than the first.
            OSError: another process died.
        """
        if self.count == 1:
            return
        text = json.dumps(value, sort_keys=True).encode()
        found = self.gather(hashlib.sha256(text).hexdigest())
        others = [str(i) for i, each in enumerate(found) if each != found[0]]
        if others:
            raise ValueError(
                f"{what} must be the same in all {self.count} processes of "
                f"TF_CONFIG; they differ between process 0 and process "
                f"{', '.join(others)}"
            )

    @contextlib.contextmanager
    def together(self) -> abc.Iterator[None]:
        """Turns the loss of another process into an error that says so.

        Raises:
            OSError: another process died.
        """
        try:
            yield
        except tf.errors.OpError as error:
            reason = _REASON.search(error.message)
            if self.count == 1 or reason is None:
                raise
            raise OSError(
                "another process of the job died or was stopped; start the "
                "same command on every machine again; training continues from "
                f"its last checkpoint ({reason[1]})"
            ) from error

    def _exchange(self, words, length):
        """All processes' rows `[processes, length]` int32."""
        row = tf.constant(np.reshape(words, [1, length]), tf.int32)
        strategy = self._strategy
        with self.together():
            own = strategy.experimental_distribute_values_from_function(
                lambda context: row
            )
            found = self._gather_rows(own)
        rows = strategy.experimental_local_results(found)[0].numpy()
        # Each replica brought its process's row.
        return rows[:: strategy.num_replicas_in_sync // self.count]

    @tf.function(autograph=False)
    def _gather_rows(self, rows):
        def gather(row: tf.Tensor) -> tf.Tensor:
            # Only a tensor that was made on a device is gathered from there.
            return tf.distribute.get_replica_context().all_gather(
                tf.identity(row), axis=0
            )

        return self._strategy.run(gather, (rows,))
