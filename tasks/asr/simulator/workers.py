"""Processes that simulate speech."""

import concurrent.futures
import multiprocessing
import os
import signal
from typing import Any


class Workers(concurrent.futures.ProcessPoolExecutor):
    """Fresh processes, so that nothing loaded here reaches the engine."""

    def __init__(self, num_processes: int | None) -> None:
        super().__init__(
            num_processes or os.cpu_count(),
            mp_context=multiprocessing.get_context("spawn"),
            # Ctrl-C is for the parent, which then cancels what is left.
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )

    def __exit__(
        self, error_type: Any, error: BaseException | None, traceback: Any
    ) -> None:
        self.shutdown(wait=True, cancel_futures=error is not None)
        if isinstance(error, concurrent.futures.process.BrokenProcessPool):
            raise OSError(
                "a worker of the simulation died, perhaps for want of memory; "
                "run it again with a smaller --num_processes."
            ) from error
