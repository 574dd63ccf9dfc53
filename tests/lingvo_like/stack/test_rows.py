"""Rows of slots, in the copy of the replica that has them."""

import types

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.stack import rows as slot_rows, stack
from tests import layouts


class Copies:
    """A variable with copies on replicas, as a strategy makes it."""

    def __init__(self, *shape, replicas=2):
        self.values = tuple(
            tf.Variable(tf.zeros(shape)) for _ in range(replicas)
        )
        self.shape, self.dtype = self.values[0].shape, tf.float32

    def numpy(self):
        return [copy.numpy()[:, 0].tolist() for copy in self.values]


def sharded():
    """Five slots: two here, one here on the second replica, two elsewhere."""
    rows = slot_rows.PooledRows([2, 0, 3, 2, 1], 2, range(2, 4))
    assert rows.take([3, 0, 2, 1, 4]) == [3, 0, 2, 1, 4]
    return rows


def test_a_slot_is_written_where_it_belongs_and_nowhere_else():
    rows, variable = sharded(), Copies(2, 1)
    for slot in range(5):
        rows.write(variable, [slot], [[float(slot + 1)]])
    assert variable.numpy() == [[4.0, 1.0], [3.0, 0.0]]
    assert [rows.read(variable, slot)[0] for slot in (0, 2, 3)] == [1, 3, 4]
    assert rows.slots.tolist() == [0, 2, 3]
    assert [rows.is_here(slot) for slot in range(5)] == [1, 0, 1, 1, 0]


def test_a_slot_of_another_process_is_an_error_and_no_neighbour():
    with pytest.raises(ValueError, match="slot 1 is trained by another"):
        sharded().read(Copies(2, 1), 1)


def test_a_tensor_of_slots_is_in_their_order_whoever_has_them():
    rows, variable = sharded(), Copies(2, 1)
    tensor = slot_rows.SlotTensor(variable, rows)
    assert tensor.shape == (5, 1)
    tensor.assign(np.arange(5.0, dtype=np.float32)[:, None])
    assert variable.numpy() == [[3.0, 0.0], [2.0, 0.0]]
    assert np.asarray(tensor)[:, 0].tolist() == [0.0, 2.0, 3.0]


def test_a_row_that_was_left_is_for_whoever_waits():
    rows, variable = slot_rows.PooledRows([0, 0, 1, 0], 2, range(2)), Copies(2)
    assert rows.take([0, 1, 3, 2]) == [0, 1, 2]
    assert rows.order.tolist() == rows.slots.tolist() == [0, 1, 2]
    freed = rows.row_index(1)
    rows.leave([1])
    assert rows.take([3]) == [3]
    assert rows.row_index(3) == freed
    assert slot_rows.SlotTensor(variable, rows).shape == (3,)


def test_tensors_of_other_slots_are_put_where_there_are_rows():
    rows, variable = (
        slot_rows.PooledRows([0, 0, 0, 0], 2),
        tf.Variable([5.0, 6]),
    )
    rows.take([0, 1])
    tensor = slot_rows.SlotTensor(variable, rows)
    assert rows.expect([1, 2, 3]) == [3]
    assert tensor.shape == (3,)
    tensor.assign(np.array([1.0, 2.0, 3.0], np.float32))
    assert [rows.read(variable, slot) for slot in (1, 2)] == [1.0, 2.0]
    rows.leave([3, 1])
    rows.take([3])
    assert np.asarray(tensor).tolist() == [2.0, 1.0]


def test_with_a_row_for_each_slot_the_owners_is_the_one_that_counts():
    rows, variable = slot_rows.SlotRows(3, [0, 1, 0]), Copies(3, 1)
    rows.write_all(variable, np.array([[1.0], [2.0], [3.0]], np.float32))
    assert variable.numpy() == [[1.0, 2.0, 3.0]] * 2
    variable.values[0].assign([[10.0], [20.0], [30.0]])
    assert rows.read_all(variable)[:, 0].tolist() == [10.0, 2.0, 30.0]
    assert rows.read(variable, 1).tolist() == [2.0]


def test_what_is_shared_is_put_into_every_copy():
    variable = Copies(2, 1)
    tensor = slot_rows.SharedTensor(variable)
    tensor.assign([[1.0], [2.0]])
    assert variable.numpy() == [[1.0, 2.0]] * 2
    assert np.asarray(tensor).tolist() == [[1.0], [2.0]]


def test_a_stack_starts_alike_wherever_its_rows_are():
    layout = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0,))
    speakers = ["ann", "bob", "cy"]
    whole = stack.Stack(speakers, layout)
    whole.initialize(7)
    rows = slot_rows.PooledRows([0, 1, 0], 2)
    rows.take([2, 1, 0])
    part = stack.Stack(speakers, layout, slot_rows=rows)
    part.initialize(7)
    for slot in (0, 2):
        for name, value in whole.read(slot).items():
            np.testing.assert_array_equal(part.read(slot)[name], value)
    assert {v.shape[0] for v in part.variables_by_name.values()} == {2}
    part.write(0, whole.read(1))
    name = layouts.tensor_name(0, "down_kernel")
    np.testing.assert_array_equal(part.read(0)[name], whole.read(1)[name])
    with pytest.raises(ValueError, match="another process"):
        part.read(1)


def test_a_variable_without_copies_is_its_own():
    variable = tf.Variable([[1.0]])
    assert slot_rows.copies(variable) == (variable,)
    several = types.SimpleNamespace(values=(1, 2))
    assert slot_rows.copies(several) == (1, 2)
