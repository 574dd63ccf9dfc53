"""SIGTERM is noted while a run is on, and is the system's again after it."""

import os
import signal
import threading

from tasks.asr.training import preemption


def test_a_signal_is_noted_and_does_not_end_the_process():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.Notice() as notice:
        assert not notice.given
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given
    assert signal.getsignal(signal.SIGTERM) is before


def test_beside_the_main_thread_nothing_is_taken():
    before, given = signal.getsignal(signal.SIGTERM), []

    def enter():
        with preemption.Notice() as notice:
            given.append(notice.given)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert given == [False]
    assert signal.getsignal(signal.SIGTERM) is before
