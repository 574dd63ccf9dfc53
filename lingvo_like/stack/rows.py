"""The rows of a job's slots, when replicas share the work.

A variable made under a distribution strategy has a copy on each replica. A
shared variable, such as one of the base model, is the same in every copy. The
row of a slot is right only in the copy of its owner, the one replica that
trains the speaker. A step there reads and writes that copy alone, so nothing
about a Submodel ever crosses from one replica to another.
"""

import collections
from collections import abc
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

# A tf.Variable, or what a distribution strategy makes in its place.
Variable: TypeAlias = Any
Slots: TypeAlias = abc.Sequence[int] | np.ndarray


def copies(variable: Variable) -> tuple[tf.Variable, ...]:
    """A variable's copies on the replicas of this process, in order."""
    return tuple(getattr(variable, "values", None) or (variable,))


def owners(replica_of: abc.Iterable[int], local: range) -> list[int | None]:
    """Each slot's replica among the `local` ones, this process's, or None."""
    return [r - local.start if r in local else None for r in replica_of]


class SlotRows:
    """Every copy has a row for each slot; the owner's is the right one.

    Args:
        owners: for each slot its replica among those of this process, or None
            where another process has it; the first replica if not given.

    Attributes:
        num_rows: rows of one copy.
        order: array of the slots whose rows make up a tensor of all processes.
        slots: array of the slots of `order` that replicas of this process own.
    """

    def __init__(
        self, num_slots: int, owners: abc.Iterable[int | None] | None = None
    ) -> None:
        self.num_rows = num_slots
        self._owners = [0] * num_slots if owners is None else list(owners)
        self._list(range(num_slots))

    def _list(self, slots: abc.Iterable[int]) -> None:
        self.order = np.array(sorted(slots), np.int32)
        self.slots = np.array(
            [slot for slot in self.order if self.is_here(slot)], np.int32
        )

    def row_index(self, slot: int) -> int:
        """The index of the slot's row in its owner's copy.

        Raises:
            ValueError: there is no such slot; never a neighbour's row.
        """
        if not 0 <= slot < len(self._owners):
            raise ValueError(
                f"slots must be in [0, {len(self._owners)}). Received: {slot}."
            )
        return int(slot)

    def is_here(self, slot: int) -> bool:
        """Whether a replica of this process owns the slot."""
        return self._owners[slot] is not None

    def read(self, variable: Variable, slot: int) -> np.ndarray:
        """The slot's row of a variable; a ValueError if it is not here."""
        row_index = self.row_index(slot)
        owner = self._owners[slot]
        if owner is None:
            raise ValueError(f"slot {slot} is trained by another process")
        return np.asarray(tf.gather(copies(variable)[owner], row_index))

    def write(self, variable: Variable, slots: Slots, values: Any) -> None:
        """Puts `[slots, ...]` into the slots' rows that this process has."""
        for copy in copies(variable):
            self._write(copy, slots, values)

    def _write(self, copy, slots, values):
        if not len(slots):
            return
        row_indices = [self.row_index(slot) for slot in slots]
        # Padded to a power of two: on an accelerator each size is a program.
        more = (1 << (len(slots) - 1).bit_length()) - len(slots)
        row_indices += row_indices[-1:] * more
        values = np.concatenate([values, *[values[-1:]] * more])
        copy.scatter_update(
            tf.IndexedSlices(
                tf.constant(values, copy.dtype), tf.constant(row_indices)
            )
        )

    def read_all(self, variable: Variable) -> np.ndarray:
        """The rows of `slots`, in their order, `[slots, ...]`."""
        found = np.zeros(
            (len(self.slots), *variable.shape[1:]),
            variable.dtype.as_numpy_dtype,
        )
        held = copies(variable)
        for owner, places in self._places_of_owners(self.slots).items():
            row_indices = [self.row_index(slot) for slot in self.slots[places]]
            found[places] = np.asarray(held[owner])[row_indices]
        return found

    def write_all(self, variable: Variable, values: Any) -> None:
        """Puts `[order, ...]`, the row of each slot of `order`."""
        for copy in copies(variable):
            copy.assign(values)

    def _places_of_owners(self, slots):
        """The places in `slots` of those that each local replica owns."""
        found = collections.defaultdict(list)
        for place, slot in enumerate(slots):
            if self.is_here(slot):
                found[self._owners[slot]].append(place)
        return found


class PooledRows(SlotRows):
    """Each copy has rows only for its owner's slots, which take turns.

    Every process is told the same, so all agree on who has a row.

    Args:
        replica_of: for each slot its replica, among those of all processes.
        num_rows: rows of one copy; the same for all, since the replicas run one
            program.
        local: the replicas of this process.
    """

    def __init__(
        self,
        replica_of: abc.Sequence[int],
        num_rows: int,
        local: range = range(1),
    ) -> None:
        self._row_index_of: dict[int, int] = {}
        self._replica_of = replica_of
        self._free = {
            replica: list(range(num_rows))[::-1] for replica in set(replica_of)
        }
        super().__init__(len(replica_of), owners(replica_of, local))
        self.num_rows = num_rows
        self._list(())

    def take(self, slots: abc.Iterable[int]) -> list[int]:
        """Gives rows to slots that have none, the first to be served first.

        Returns those that now have a row: their replicas had one left.
        """
        taken = []
        for slot in slots:
            free = self._free[self._replica_of[slot]]
            if free:
                self._row_index_of[slot] = free.pop()
                taken.append(slot)
        self._list(self._row_index_of)
        return taken

    def leave(self, slots: abc.Iterable[int]) -> None:
        """Takes the rows back from the slots that have one."""
        for slot in slots:
            if slot in self._row_index_of:
                free = self._free[self._replica_of[slot]]
                free.append(self._row_index_of.pop(slot))
        self._list(self._row_index_of)

    def expect(self, slots: abc.Sequence[int]) -> list[int]:
        """Gives the rows to the slots whose values `write_all` puts next.

        Returns the slots whose replicas have no row left; they must `leave`
        after `write_all`.
        """
        self.leave(list(self._row_index_of))
        taken = set(self.take(slots))
        self._list(slots)
        return [slot for slot in slots if slot not in taken]

    def row_index(self, slot: int) -> int:
        if slot not in self._row_index_of:
            raise ValueError(f"slot {slot} has no row now")
        return self._row_index_of[slot]

    def write(self, variable: Variable, slots: Slots, values: Any) -> None:
        held = copies(variable)
        for owner, places in self._places_of_owners(slots).items():
            self._write(
                held[owner],
                [slots[place] for place in places],
                np.asarray(values)[places],
            )

    def write_all(self, variable: Variable, values: Any) -> None:
        places = [
            place
            for place, slot in enumerate(self.order)
            if slot in self._row_index_of
        ]
        self.write(variable, self.order[places], np.asarray(values)[places])


class SlotTensor:
    """A variable of rows as one tensor in the order of the slots."""

    def __init__(self, variable: Variable, slot_rows: SlotRows) -> None:
        self._variable = variable
        self._slot_rows = slot_rows
        self.dtype: tf.DType = variable.dtype

    @property
    def shape(self) -> tf.TensorShape:
        """`[order, ...]`: the slots that have rows, in any process."""
        return tf.TensorShape(
            [len(self._slot_rows.order), *self._variable.shape[1:]]
        )

    @property
    def slots(self) -> np.ndarray:
        """The slots whose rows NumPy sees: those of this process."""
        return self._slot_rows.slots

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> np.ndarray:
        del copy
        return np.asarray(self._slot_rows.read_all(self._variable), dtype)

    def assign(self, values: Any) -> None:
        """Puts `[order, ...]`."""
        self._slot_rows.write_all(self._variable, values)


class SharedTensor:
    """A variable whose copies are all the same, as one tensor."""

    slots = None  # It belongs to all of them.

    def __init__(self, variable: Variable) -> None:
        self._copies = copies(variable)
        self.dtype: tf.DType = variable.dtype
        self.shape: tf.TensorShape = variable.shape

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> np.ndarray:
        del copy
        return np.asarray(np.asarray(self._copies[0]), dtype)

    def assign(self, value: Any) -> None:
        """Puts the value into all copies."""
        for copy in self._copies:
            copy.assign(value)
