"""SIGTERM and Ctrl-C: a run saves before it ends.

SIGTERM precedes the loss of a preemptible machine.
"""

import os
import signal
import threading

_ASKED = (
    b"\nstopping: a checkpoint is saved after this step; Ctrl-C again ends the "
    b"run at once\n"
)
_AT_ONCE = b"\nended at once; the last checkpoint is complete\n"


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

    A second Ctrl-C ends the process at once, in the middle of a step too.

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
        if threading.current_thread() is not threading.main_thread():
            return self
        # Python's handlers wait for the end of a step, which may take long. A
        # thread that reads the numbers of the signals does not.
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._fd_before = signal.set_wakeup_fd(
            self._writer, warn_on_full_buffer=False
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            # In the background of a script, Ctrl-C is for others.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        threading.Thread(
            target=self._watch, args=(reader,), daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._fd_before)
            os.close(self._writer)

    def _take(self, number, _):
        self.number = self.number or number

    def _watch(self, reader):
        count = 0
        # Nothing comes once the other end is closed.
        while found := os.read(reader, 1):
            number = found[0]
            count += number in self._before
            if number == signal.SIGINT and count == 1:
                os.write(2, _ASKED)
            elif number == signal.SIGINT:
                os.write(2, _AT_ONCE)
                os._exit(128 + number)
        os.close(reader)
