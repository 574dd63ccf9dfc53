"""Reads a compiled module of HLO, XLA's program: transfers, host work, loops.

The compiler's own cost analysis counts a loop's body once, however often the
loop runs it; `Module.loop_excess` says by how much that is too little.
"""

# Protocol buffers make their classes when they are imported.
# pyright: reportAttributeAccessIssue=false

import functools
import math
import re
from collections import abc
from typing import Any, NamedTuple

from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)
_HOST_OPCODES = ("infeed", "outfeed")
_HOST_TARGET = re.compile("[Hh]ost|[Cc]allback")
_HOST_MEMORY_SPACE = 5
_BITS = re.compile(r"\d+")
_TRIP_COUNT = re.compile(rb'"known_trip_count":\{"n":"(\d+)"\}')
# Instructions that pass a value on unchanged.
_PASSING = ("copy", "bitcast", "reshape", "copy-start", "copy-done", "convert")
_MIRRORED = {"LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE"}


class Loop(NamedTuple):
    """A while loop: how often its body runs at most, or None if unknown."""

    body: str
    trip_count: int | None


class _Element(NamedTuple):
    """An element of a loop's state."""

    index: int


class Module:
    """A compiled module, from the bytes of its `HloModuleProto`."""

    def __init__(self, serialized: bytes):
        self._proto = hlo_pb2.HloModuleProto.FromString(serialized)
        self._computations = {
            each.id: each for each in self._proto.computations
        }
        # An instruction's operands are in its own computation.
        self._instructions = {
            computation.id: {each.id: each for each in computation.instructions}
            for computation in self._proto.computations
        }

    def _all(self):
        for instructions in self._instructions.values():
            yield from instructions.values()

    def collectives(self) -> dict[str, tuple[int, int]]:
        """Transfers between chips: opcode to (count, bytes).

        The bytes are those of the results, on one chip.
        """
        found: dict[str, tuple[int, int]] = {}
        for each in self._all():
            opcode = each.opcode.removesuffix("-start")
            if opcode not in COLLECTIVES:
                continue
            result = each.shape
            if each.opcode.endswith("-start") and opcode != "all-reduce":
                # A tuple of operand, result and the transfer's own state.
                result = each.shape.tuple_shapes[1]
            count, total = found.get(opcode, (0, 0))
            found[opcode] = (count + 1, total + _num_bytes(result))
        return found

    def host_operations(self) -> list[str]:
        """Instructions that the chip leaves to its host, sorted."""
        return sorted(
            f"{each.opcode} {each.name}"
            for each in self._all()
            if each.opcode in _HOST_OPCODES
            or each.is_host_transfer
            or _in_host_memory(each.shape)
            or _HOST_TARGET.search(each.custom_call_target)
        )

    def loops(self) -> list[Loop]:
        """Every loop that the entry computation reaches, outermost first."""
        entry = self._proto.entry_computation_id
        return [
            Loop(self._computations[body].name, trip_count)
            for _, body, trip_count in self._walk(entry, parent_trips=1)
        ]

    def loop_excess(
        self, cost: abc.Callable[[bytes], tuple[float, ...]]
    ) -> list[float] | None:
        """The cost that is missing where every loop's body counts once.

        A loop of unknown length counts once.

        Args:
            cost: gives a serialized module's figures, counted in that way.

        Returns:
            What to add to each figure; None if there is no loop.
        """

        @functools.cache
        def cost_of(computation: int) -> tuple[float, ...]:
            return cost(self._standalone(computation))

        excess = None
        entry = self._proto.entry_computation_id
        for trips, body, trip_count in self._walk(entry, parent_trips=1):
            # The body is part of the count of every computation around it, up
            # to the entry: once in all.
            more = trips * (trip_count or 1) - trips
            figures = cost_of(body)
            excess = excess or [0.0] * len(figures)
            for place, figure in enumerate(figures):
                excess[place] += more * figure
        return excess

    def _walk(self, computation, parent_trips):
        """Yields (how often a loop starts, its body's id, its trip count)."""
        for each in self._instructions[computation].values():
            called = each.called_computation_ids
            if each.opcode == "while":
                body, _ = called
                trip_count = self._trip_count(computation, each)
                yield parent_trips, body, trip_count
                yield from self._walk(body, parent_trips * (trip_count or 1))
            elif each.opcode in ("call", "conditional"):
                for inner in called:
                    yield from self._walk(inner, parent_trips)

    def _standalone(self, computation):
        """A serialized module whose entry is this computation."""
        needed, waiting = {computation}, [computation]
        while waiting:
            for each in self._instructions[waiting.pop()].values():
                new = set(each.called_computation_ids) - needed
                needed |= new
                waiting += new
        entry = self._computations[computation]
        part = hlo_pb2.HloModuleProto(
            name=entry.name,
            entry_computation_id=computation,
            entry_computation_name=entry.name,
            host_program_shape=entry.program_shape,
            computations=[
                each for each in self._proto.computations if each.id in needed
            ],
        )
        return part.SerializeToString()

    def _trip_count(self, computation, loop):
        known = _TRIP_COUNT.search(loop.backend_config)
        if known:
            return int(known[1])
        _, condition = loop.called_computation_ids
        counts = [
            self._count(direction, sides, computation, loop)
            for direction, sides in self._comparisons(condition, {})
        ]
        # Where several comparisons can end a loop, the first one does.
        return min((n for n in counts if n is not None), default=None)

    def _comparisons(self, computation, arguments):
        """A condition's comparisons: direction, and both sides' sources."""
        for each in self._instructions[computation].values():
            sides = [
                self._source(computation, operand, arguments)
                for operand in each.operand_ids
            ]
            if each.opcode == "compare":
                yield each.comparison_direction, sides
            for called in each.called_computation_ids:
                yield from self._comparisons(called, dict(enumerate(sides)))

    def _source(self, computation, operand, arguments):
        """The int or `_Element` that a value comes from, or None.

        Args:
            arguments: sources of the computation's parameters; empty for a
                condition itself, whose parameter is the loop's state.
        """
        instructions = self._instructions[computation]
        each = instructions[operand]
        while each.opcode in _PASSING:
            each = instructions[each.operand_ids[0]]
        if each.opcode == "constant":
            return _integer(each)
        if each.opcode == "parameter":
            return arguments.get(each.parameter_number)
        if each.opcode == "get-tuple-element" and not arguments:
            return _Element(each.tuple_index)
        return None

    def _count(self, direction: str, sides, computation, loop):
        """The runs that a comparison allows a loop that counts by ones."""
        state = self._instructions[computation][loop.operand_ids[0]]
        if state.opcode != "tuple":
            return None

        def initial(side: Any) -> Any:
            if not isinstance(side, _Element):
                return side
            operand = state.operand_ids[side.index]
            return self._source(computation, operand, {})

        left, right = sides
        if not isinstance(left, _Element):
            left, right = right, left
            direction = _MIRRORED.get(direction, direction)
        start, limit = initial(left), initial(right)
        if not isinstance(start, int) or not isinstance(limit, int):
            return None
        count = {
            "LT": limit - start,
            "LE": limit - start + 1,
            "GT": start - limit,
            "GE": start - limit + 1,
            "NE": abs(limit - start),
        }.get(direction)
        return None if count is None or count < 0 else count


def _num_bytes(shape):
    """Bytes of an array, or of all arrays of a tuple, without padding."""
    if shape.tuple_shapes:
        return sum(map(_num_bytes, shape.tuple_shapes))
    kind = xla_data_pb2.PrimitiveType.Name(shape.element_type)
    bits = _BITS.search(kind)
    width = 8 if kind == "PRED" else int(bits[0]) if bits else 0
    return math.prod(shape.dimensions) * width // 8


def _in_host_memory(shape):
    if shape.tuple_shapes:
        return any(map(_in_host_memory, shape.tuple_shapes))
    return shape.layout.memory_space == _HOST_MEMORY_SPACE


def _integer(constant):
    """The value of a scalar integer constant; None for another one."""
    literal = constant.literal
    for values in (literal.s32s, literal.s64s, literal.u32s, literal.u64s):
        if len(values) == 1 and not constant.shape.dimensions:
            return values[0]
    return None
