"""Where the rows of a job's slots are, when replicas share the work.

A variable made under a distribution strategy has a copy on each replica. What
belongs to all, such as a base model, is the same in every copy. What belongs
to a speaker is right in the copy of the one replica that trains the speaker,
its owner, and a step there reads and writes that copy alone: nothing about a
Submodel ever crosses from one replica to another.
"""

import numpy as np
import tensorflow as tf


def copies(variable):
    """A variable's copies on the replicas of this process, in order."""
    return tuple(getattr(variable, "values", None) or (variable,))


class SlotRows:
    """Every copy has a row for each slot, its owner's being the right one.

    Args:
        num_slots: int.
        owners: for each slot its replica among those of this process, or None
            where another process has it; the first replica if not given.

    Attributes:
        num_rows: int, rows of one copy.
        slots: array of the slots that replicas of this process own.
    """

    def __init__(self, num_slots, owners=None):
        self.num_slots = num_slots
        self._owners = [0] * num_slots if owners is None else list(owners)
        self.num_rows = num_slots
        self.slots = np.array(
            [s for s, owner in enumerate(self._owners) if owner is not None],
            np.int32,
        )
        self._owned = {
            owner: np.array(
                [s for s, each in enumerate(self._owners) if each == owner],
                np.int32,
            )
            for owner in {each for each in self._owners if each is not None}
        }

    def row(self, slot):
        """The slot's row in its owner's copy."""
        return int(slot)

    def is_here(self, slot):
        """Whether a replica of this process owns the slot."""
        return self._owners[slot] is not None

    def clear(self, variable):
        """Zeros everywhere."""
        for copy in copies(variable):
            copy.assign(tf.zeros(copy.shape, copy.dtype))

    def read(self, variable, slot):
        """The slot's row of a variable, a NumPy array `[...]`.

        Raises:
            ValueError: another process has it.
        """
        owner = self._owners[slot]
        if owner is None:
            raise ValueError(f"slot {slot} is trained by another process")
        return np.asarray(tf.gather(copies(variable)[owner], self.row(slot)))

    def write(self, variable, slot, value):
        """Puts `[...]` into the slot's row, wherever this process has it."""
        for copy in copies(variable):
            self._write(copy, self.row(slot), value)

    def _write(self, copy, row, value):
        copy.scatter_update(
            tf.IndexedSlices(tf.constant(value, copy.dtype)[None], [row])
        )

    def read_all(self, variable):
        """The rows of `slots`, in their order, `[slots, ...]`."""
        found = np.zeros(
            (self.num_slots, *variable.shape[1:]), variable.dtype.as_numpy_dtype
        )
        held = copies(variable)
        for owner, slots in self._owned.items():
            rows = [self.row(slot) for slot in slots]
            found[slots] = np.asarray(held[owner])[rows]
        return found if len(self.slots) == len(found) else found[self.slots]

    def write_all(self, variable, values):
        """Puts every slot's row: `[num_slots, ...]`, also those of others."""
        for copy in copies(variable):
            copy.assign(values)


class ShardedRows(SlotRows):
    """Each copy has rows for its owner's slots alone.

    Args:
        num_slots: int.
        owners: as `SlotRows`.
        row_of: for each slot its row in its owner's copy.
        num_rows: int, rows of one copy; the same for all, since the replicas
            run one program.
    """

    def __init__(self, num_slots, owners, row_of, num_rows):
        super().__init__(num_slots, owners)
        self._row_of = list(row_of)
        self.num_rows = num_rows

    def row(self, slot):
        return self._row_of[slot]

    def write(self, variable, slot, value):
        owner = self._owners[slot]
        if owner is not None:
            self._write(copies(variable)[owner], self.row(slot), value)

    def write_all(self, variable, values):
        values = np.asarray(values)
        for replica, copy in enumerate(copies(variable)):
            slots = self._owned.get(replica, ())
            rows = np.zeros((self.num_rows, *values.shape[1:]), values.dtype)
            rows[[self.row(slot) for slot in slots]] = values[list(slots)]
            copy.assign(rows)


class SlotTensor:
    """A variable of rows as one tensor in the order of the slots.

    Args:
        variable: with a row for each slot.
        slot_rows: `SlotRows`.

    Attributes:
        shape: `[num_slots, ...]`.
        slots: array of the slots whose rows NumPy sees: those of this process.
    """

    def __init__(self, variable, slot_rows):
        self._variable = variable
        self._slot_rows = slot_rows
        self.slots = slot_rows.slots
        self.dtype = variable.dtype
        self.shape = tf.TensorShape([slot_rows.num_slots, *variable.shape[1:]])

    def __array__(self, dtype=None, copy=None):
        del copy
        return np.asarray(self._slot_rows.read_all(self._variable), dtype)

    def assign(self, values):
        """Puts `[num_slots, ...]`."""
        self._slot_rows.write_all(self._variable, values)


class SharedTensor:
    """A variable whose copies are all the same, as one tensor.

    Args:
        variable: with or without copies.
    """

    # No slots: the tensor is everybody's.
    slots = None

    def __init__(self, variable):
        self._copies = copies(variable)
        self.dtype, self.shape = variable.dtype, variable.shape

    def __array__(self, dtype=None, copy=None):
        del copy
        return np.asarray(np.asarray(self._copies[0]), dtype)

    def assign(self, value):
        """Puts the value into all copies."""
        for copy in self._copies:
            copy.assign(value)
