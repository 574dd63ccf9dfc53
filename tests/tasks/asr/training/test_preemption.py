"""Signals are noted while a run is on, and are the system's again after it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tasks.asr.training import preemption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_does_not_end_the_process(number):
    before = signal.getsignal(number)
    with preemption.Notice() as notice:
        assert not notice.given
        os.kill(os.getpid(), number)
        assert notice.given
    assert signal.getsignal(number) is before
    stopped = preemption.Stopped("RUN", notice.number)
    assert stopped.exit_status == 128 + number
    assert "RUN holds everything" in str(stopped)


WAITING = """
import time
from tasks.asr.training import preemption
with preemption.Notice():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def test_the_second_interrupt_ends_the_process_at_once():
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as run:
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGINT)
        assert run.stderr.readline() == b"\n"
        assert b"Ctrl-C again" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == -signal.SIGINT


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
