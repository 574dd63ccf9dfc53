"""Processes exchange values, and notice when one is gone."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import clusters
from tpu.distribute import processes


def test_a_process_alone_hears_itself():
    alone = processes.Processes()
    assert (alone.count, alone.index, alone.is_chief) == (1, 0, True)
    assert alone.gather({"a": 1.5}) == [{"a": 1.5}]
    assert processes.Processes(tf.distribute.get_strategy()).count == 1


@pytest.fixture
def two(monkeypatch):
    """Two processes of two replicas each: the other says what this one does."""

    def make(other=None, error=None):
        this = processes.Processes()
        this.count, this.index = 2, 1
        this._strategy = types.SimpleNamespace(
            num_replicas_in_sync=4,
            experimental_distribute_values_from_function=lambda make: make(0),
            experimental_local_results=lambda found: (found,),
        )

        def gather(self, row):
            if error is not None:
                raise error
            changed = tf.roll(row, 0, axis=1) if other is None else other(row)
            return tf.concat([changed, changed, row, row], axis=0)

        monkeypatch.setattr(processes.Processes, "_gather_rows", gather)
        return this

    return make


@pytest.mark.parametrize("value", [None, [1, 2.5, "ü"], "x" * 100_000])
def test_values_of_any_length_come_whole_and_in_order(two, value):
    assert two().gather(value) == [value, value]


def test_each_process_is_heard_once(two):
    shapes = []

    def other(row):
        shapes.append(row.shape)
        # A length of 2, and the letters 12.
        if row.shape[1] == 1:
            return tf.constant([[2]], tf.int32)
        words = np.zeros(row.shape, "<i4")
        words[0, 0] = np.frombuffer(b"12\0\0", "<i4")[0]
        return tf.constant(words)

    assert two(other).gather([7]) == [12, [7]]
    assert shapes == [(1, 1), (1, 1024)]


def test_a_process_that_died_is_one_line(two):
    message = "Graph execution error:\n\nCollective ops is aborted by: reset\nx"
    lost = two(error=tf.errors.UnavailableError(None, None, message))
    with pytest.raises(OSError, match=r"died or was stopped.*\(reset\)$"):
        lost.gather()


def test_other_errors_stay_what_they_are(two):
    error = tf.errors.InvalidArgumentError(None, None, "ours")
    with pytest.raises(tf.errors.InvalidArgumentError):
        two(error=error).gather()


def test_processes_that_differ_are_told(two):
    two().check_same("the data", {"a": 1})

    def other(row):
        if row.shape[1] == 1:
            return row
        words = row.numpy()
        words[0, 1] += 1
        return tf.constant(words)

    with pytest.raises(ValueError, match="the data must be .* process 1$"):
        two(other).check_same("the data", {"a": 1})
    processes.Processes().check_same("the data", object())


def test_a_strategy_of_one_process_has_one_process(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(clusters.config(index=1)))
    mirrored = tf.distribute.OneDeviceStrategy("/cpu:0")
    assert processes.Processes(mirrored).count == 1
