"""What processes tell each other, and what they hear when one is gone."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import clusters
from tpu.distribute import meeting, workers


def test_a_process_alone_hears_itself():
    alone = workers.Workers()
    assert (alone.count, alone.index, alone.is_chief) == (1, 0, True)
    assert alone.gather({"a": 1.5}) == [{"a": 1.5}]
    assert workers.Workers(tf.distribute.get_strategy()).count == 1


@pytest.fixture
def two(monkeypatch):
    """Two processes of two replicas each: the other says what this one does."""

    def make(other=None, error=None):
        this = workers.Workers()
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

        monkeypatch.setattr(workers.Workers, "_gather_rows", gather)
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


@pytest.fixture
def apart(monkeypatch):
    """The second of two processes that no strategy spans."""

    def make(exchange):
        config = clusters.config(index=1)
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        monkeypatch.setattr(
            meeting,
            "Meeting",
            lambda processes: types.SimpleNamespace(
                processes=processes, exchange=exchange
            ),
        )
        return workers.Workers(tf.distribute.OneDeviceStrategy("/cpu:0"))

    return make


def test_processes_without_a_common_strategy_meet_all_the_same(apart):
    this = apart(lambda data: [b'{"from": "the first"}', data])
    assert (this.count, this.index, this.is_chief) == (2, 1, False)
    assert not this.in_one_strategy
    assert this.gather([1, "\u00fc"]) == [{"from": "the first"}, [1, "\u00fc"]]


def test_processes_that_are_not_of_one_mind_are_told(apart):
    this = apart(lambda data: [data, data])
    this.check_same("the data", {"a": 1})
    this = apart(lambda data: [b'"another"', data])
    with pytest.raises(ValueError, match="the data must be .* process 1 has"):
        this.check_same("the data", {"a": 1})
    workers.Workers().check_same("the data", object())


def test_a_process_that_left_the_meeting_is_one_line(apart):
    def exchange(data):
        raise ConnectionResetError("connection closed")

    with pytest.raises(OSError, match=r"died or was .*\(connection closed\)$"):
        apart(exchange).gather()
