"""SIGTERM and Ctrl-C: a run saves before it ends.

SIGTERM precedes the loss of a preemptible machine.
"""

import signal
import sys
import threading


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has saved everything.

    As the exception of Ctrl-C is, it is none that `except Exception` takes.

    Attributes:
        exit_status: that of a process which the signal ends.
    """

    def __init__(self, folder: str, number: int = signal.SIGINT) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        super().__init__(
            f"stopped by {name}; the checkpoint in {folder} holds everything, "
            "and the same command continues from it"
        )
        self.exit_status = 128 + number


class Notice:
    """Catches SIGTERM and Ctrl-C while it is entered.

    Python runs its handlers between two operations, so a signal is noted when
    the step that it meets has ended. From then on, Ctrl-C ends the process at
    once; the last checkpoint is complete at any moment.

    Attributes:
        number: the first signal that came; 0 before any.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before = {}

    @property
    def given(self) -> bool:
        """Whether a signal came."""
        return bool(self.number)

    def __enter__(self) -> "Notice":
        # Only the main thread may handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # In the background of a script, Ctrl-C is for others.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number, _):
        self.number = self.number or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            print(
                "\nstopping: a checkpoint is saved after this step; Ctrl-C "
                "again ends the run at once",
                file=sys.stderr,
            )
