"""Where the rows of a job's slots are, when replicas share the work.

A variable made under a distribution strategy has a copy on each replica. What
belongs to all, such as a base model, is the same in every copy. What belongs
to a speaker is right in the copy of the one replica that trains the speaker,
its owner, and a step there reads and writes that copy alone: nothing about a
Submodel ever crosses from one replica to another.
"""

import collections

import numpy as np
import tensorflow as tf


def copies(variable):
    """A variable's copies on the replicas of this process, in order."""
    return tuple(getattr(variable, "values", None) or (variable,))


def owners(replica_of, local):
    """Each slot's replica among those of this process, or None.

    Args:
        replica_of: for each slot its replica, among those of all processes.
        local: range, the replicas of this process.
    """
    return [r - local.start if r in local else None for r in replica_of]


class SlotRows:
    """Every copy has a row for each slot, its owner's being the right one.

    Args:
        num_slots: int.
        owners: for each slot its replica among those of this process, or None
            where another process has it; the first replica if not given.

    Attributes:
        num_rows: int, rows of one copy.
        order: array of the slots whose rows make up a tensor of all processes.
        slots: array of those among them that replicas of this process own.
    """

    def __init__(self, num_slots, owners=None):
        self.num_rows = num_slots
        self._owners = [0] * num_slots if owners is None else list(owners)
        self._list(range(num_slots))

    def _list(self, slots):
        self.order = np.array(sorted(slots), np.int32)
        self.slots = np.array(
            [slot for slot in self.order if self.is_here(slot)], np.int32
        )

    def row(self, slot):
        """The slot's row in its owner's copy."""
        return int(slot)

    def is_here(self, slot):
        """Whether a replica of this process owns the slot."""
        return self._owners[slot] is not None

    def read(self, variable, slot):
        """The slot's row of a variable, a NumPy array `[...]`.

        Raises:
            ValueError: another process has it.
        """
        owner = self._owners[slot]
        if owner is None:
            raise ValueError(f"slot {slot} is trained by another process")
        return np.asarray(tf.gather(copies(variable)[owner], self.row(slot)))

    def write(self, variable, slots, values):
        """Puts `[slots, ...]` into slots' rows, wherever this process has them.

        Args:
            variable: with copies.
            slots: sequence of slots, whoever owns them.
            values: array `[slots, ...]`.
        """
        for copy in copies(variable):
            self._write(copy, slots, values)

    def _write(self, copy, slots, values):
        if not len(slots):
            return
        rows = [self.row(slot) for slot in slots]
        # Few sizes, since on an accelerator each is a program of its own.
        more = (1 << (len(rows) - 1).bit_length()) - len(rows)
        rows += rows[-1:] * more
        values = np.concatenate([values, *[values[-1:]] * more])
        copy.scatter_update(
            tf.IndexedSlices(tf.constant(values, copy.dtype), rows)
        )

    def read_all(self, variable):
        """The rows of `slots`, in their order, `[slots, ...]`."""
        found = np.zeros(
            (len(self.slots), *variable.shape[1:]),
            variable.dtype.as_numpy_dtype,
        )
        held = copies(variable)
        for owner, places in self._places_of_owners(self.slots).items():
            rows = [self.row(slot) for slot in self.slots[places]]
            found[places] = np.asarray(held[owner])[rows]
        return found

    def write_all(self, variable, values):
        """Puts the row of each slot of `order`: `[order, ...]`."""
        for copy in copies(variable):
            copy.assign(values)

    def _places_of_owners(self, slots):
        """Where in `slots` each replica of this process finds its own."""
        found = collections.defaultdict(list)
        for place, slot in enumerate(slots):
            if self.is_here(slot):
                found[self._owners[slot]].append(place)
        return found


class PooledRows(SlotRows):
    """Each copy has rows for its owner's slots alone, which take them in turn.

    All processes are told the same, and so agree on who has a row.

    Args:
        replica_of: for each slot its replica, among those of all processes.
        num_rows: int, rows of one copy; the same for all, since the replicas
            run one program.
        local: range, the replicas of this process.
    """

    def __init__(self, replica_of, num_rows, local=range(1)):
        self._row_of = {}
        self._replica_of = replica_of
        self._free = {
            replica: list(range(num_rows))[::-1] for replica in set(replica_of)
        }
        super().__init__(
            len(replica_of),
            owners(replica_of, local),
        )
        self.num_rows = num_rows
        self._list(())

    def take(self, slots):
        """Gives rows to slots, while their replicas have some.

        Args:
            slots: sequence of slots without a row, the first to come first.

        Returns:
            list of those that have a row now.
        """
        taken = []
        for slot in slots:
            free = self._free[self._replica_of[slot]]
            if free:
                self._row_of[slot] = free.pop()
                taken.append(slot)
        self._list(self._row_of)
        return taken

    def leave(self, slots):
        """Takes back the rows of those who have one, and what is in them."""
        for slot in slots:
            if slot in self._row_of:
                free = self._free[self._replica_of[slot]]
                free.append(self._row_of.pop(slot))
        self._list(self._row_of)

    def expect(self, slots):
        """Gives these slots the rows, which `write_all` puts next.

        Returns:
            list of those for whom their replicas have none left; they `leave`
            after that.
        """
        self.leave(list(self._row_of))
        taken = set(self.take(slots))
        self._list(slots)
        return [slot for slot in slots if slot not in taken]

    def row(self, slot):
        return self._row_of[slot]

    def write(self, variable, slots, values):
        held = copies(variable)
        for owner, places in self._places_of_owners(slots).items():
            self._write(
                held[owner],
                [slots[place] for place in places],
                np.asarray(values)[places],
            )

    def write_all(self, variable, values):
        places = [
            place
            for place, slot in enumerate(self.order)
            if slot in self._row_of
        ]
        self.write(variable, self.order[places], np.asarray(values)[places])


class SlotTensor:
    """A variable of rows as one tensor in the order of the slots.

    Args:
        variable: with rows of slots.
        slot_rows: `SlotRows`.

    Attributes:
        dtype: the variable's.
    """

    def __init__(self, variable, slot_rows):
        self._variable = variable
        self._slot_rows = slot_rows
        self.dtype = variable.dtype

    @property
    def shape(self):
        """`[order, ...]`: the slots that have rows, in any process."""
        return tf.TensorShape(
            [len(self._slot_rows.order), *self._variable.shape[1:]]
        )

    @property
    def slots(self):
        """The slots whose rows NumPy sees: those of this process."""
        return self._slot_rows.slots

    def __array__(self, dtype=None, copy=None):
        del copy
        return np.asarray(self._slot_rows.read_all(self._variable), dtype)

    def assign(self, values):
        """Puts `[order, ...]`."""
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
