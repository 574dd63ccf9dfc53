"""SIGTERM, which precedes the loss of a preemptible machine."""

import signal
import threading


class Stopped(Exception):
    """The run was asked to stop, and has saved everything."""


class Notice:
    """Catches SIGTERM while it is entered.

    Attributes:
        given: whether a SIGTERM came.
    """

    def __init__(self) -> None:
        self.given = False
        self._before = None

    def __enter__(self) -> "Notice":
        # Only the main thread may handle signals.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _take(self, *_):
        self.given = True
