"""Processes that simulate speech."""

import os

import pytest

from tasks.asr.simulator import workers


def test_a_worker_that_dies_is_told_and_not_waited_for():
    with pytest.raises(OSError, match="a worker of the simulation died"):
        with workers.Workers(1) as pool:
            pool.submit(os._exit, 1).result()
