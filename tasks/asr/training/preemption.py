"""Being asked to stop: what a machine that is taken away sends first."""

import signal
import threading


class Stopped(Exception):
    """The run was asked to stop, and has saved all that it had."""


class Notice:
    """Takes SIGTERM while it is entered, and says whether one came.

    Attributes:
        given: bool.
    """

    def __init__(self):
        self.given = False
        self._before = None

    def __enter__(self):
        # Python hands signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._take)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _take(self, *_):
        self.given = True
