"""What the text of a compiled HLO module says: transfers, hosts and loops.

HLO is XLA's program. The compiler's own cost analysis counts a loop's body
once, however often it runs; what is read here puts that right.
"""

import dataclasses
import functools
import re

from tpu.aot import hlo_text

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
_HOST_TARGET = re.compile(r'custom_call_target="[^"]*(?:[Hh]ost|[Cc]allback)')
# Memory space 5 is the host's.
_HOST_MEMORY = re.compile(r"S\(5\)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What hands a value on as it is.
_PASSING = ("copy", "bitcast", "reshape", "copy-start", "copy-done", "convert")


@dataclasses.dataclass(frozen=True)
class Loop:
    """A while loop.

    Attributes:
        body: name of its body.
        trip_count: int, how often the body runs at most; None if the module
            does not say.
    """

    body: str
    trip_count: int | None


class Module:
    """A compiled module, read from its text.

    Args:
        text: what XLA prints of it.

    Attributes:
        entry: name of the entry computation.
        computations: dict of name to a dict of name to `hlo_text.Instruction`.
    """

    def __init__(self, text):
        parsed = list(hlo_text.computations(text))
        self.computations = {each.name: each.instructions for each in parsed}
        self._lines = {each.name: each.lines for each in parsed}
        (self.entry,) = (each.name for each in parsed if each.is_entry)

    def _all(self):
        for instructions in self.computations.values():
            yield from instructions.values()

    def collectives(self):
        """What crosses from chip to chip: dict of opcode to (count, bytes).

        The bytes are those of the results, on one chip.
        """
        found = {}
        for each in self._all():
            opcode = each.opcode.removesuffix("-start")
            if opcode not in COLLECTIVES:
                continue
            kept = each.type
            if each.opcode.endswith("-start") and opcode != "all-reduce":
                # Operand, result and what the transfer needs.
                kept = hlo_text.elements(each.type)[1]
            count, total = found.get(opcode, (0, 0))
            found[opcode] = (count + 1, total + hlo_text.type_bytes(kept))
        return found

    def host_operations(self):
        """Instructions that the chip leaves to its host, as a sorted list."""
        return sorted(
            f"{each.opcode} {each.name}"
            for each in self._all()
            if each.opcode in _HOST_OPCODES
            or "is_host_transfer=true" in each.attributes
            or _HOST_MEMORY.search(each.type)
            or _HOST_TARGET.search(each.attributes)
        )

    def loops(self):
        """Every `Loop` that the entry reaches, outermost first."""
        return [loop for _, loop in self._walk(self.entry, parent_trips=1)]

    def loop_excess(self, cost):
        """What a count of every loop's body once leaves out.

        Args:
            cost: function of an HLO module's text that returns a tuple of
                numbers, each loop's body in it counted once.

        Returns:
            list of numbers, like the tuple; None where there is no loop. A
            loop of unknown length counts once.
        """
        cost = functools.cache(cost)
        excess = None
        for trips, loop in self._walk(self.entry, parent_trips=1):
            # The body stands once in the count of every computation that
            # holds it, and so on up to the entry: once in all.
            more = trips * (loop.trip_count or 1) - trips
            values = [more * x for x in cost(self.standalone(loop.body))]
            excess = (
                values
                if excess is None
                else [a + b for a, b in zip(excess, values, strict=True)]
            )
        return excess

    def _walk(self, computation, parent_trips):
        """Pairs of how often a loop is entered, and the `Loop`."""
        for each in self.computations[computation].values():
            if each.opcode == "while":
                loop = self._loop(computation, each)
                yield parent_trips, loop
                yield from self._walk(
                    loop.body, parent_trips * (loop.trip_count or 1)
                )
            elif each.opcode in ("call", "conditional"):
                for name in each.called:
                    yield from self._walk(name, parent_trips)

    def standalone(self, computation):
        """The text of a module whose entry is this computation."""
        needed, waiting = {computation}, [computation]
        while waiting:
            for each in self.computations[waiting.pop()].values():
                new = set(each.called) - needed
                needed |= new
                waiting += new
        parts = ["HloModule part"]
        for name, lines in self._lines.items():
            if name == computation:
                lines = ["ENTRY " + lines[0].removeprefix("ENTRY "), *lines[1:]]
            if name in needed:
                parts.append("\n".join(lines))
        return "\n\n".join(parts) + "\n"

    def _loop(self, computation, each):
        body = each.attribute("body")
        known = _TRIP_COUNT.search(each.attributes)
        if known:
            return Loop(body, int(known[1]))
        condition = each.attribute("condition")
        counts = [
            self._count(compare, sides, computation, each)
            for compare, sides in self._comparisons(condition, {})
        ]
        # Where several things end a loop, the first to come does.
        return Loop(body, min(filter(_is_known, counts), default=None))

    def _comparisons(self, computation, bindings):
        """A condition's comparisons, each with where its two sides are from."""
        instructions = self.computations[computation]
        for each in instructions.values():
            if each.opcode == "compare":
                sides = [
                    self._source(computation, name, bindings)
                    for name in each.operands
                ]
                yield each, sides
            for called in each.called:
                inner = {
                    i: self._source(computation, name, bindings)
                    for i, name in enumerate(each.operands)
                }
                yield from self._comparisons(called, inner)

    def _source(self, computation, name, bindings):
        """An int, ("element", index of the loop's state), or None."""
        instructions = self.computations[computation]
        each = instructions.get(name)
        while each is not None and each.opcode in _PASSING:
            each = instructions.get(each.operands[0])
        if each is None:
            return None
        if each.opcode == "constant":
            return _integer(each.arguments)
        if each.opcode == "parameter":
            return bindings.get(int(each.arguments))
        if each.opcode == "get-tuple-element" and not bindings:
            return "element", int(each.attribute("index"))
        return None

    def _count(self, compare, sides, computation, loop):
        """How often a comparison lets the loop run, by steps of one."""
        state = self.computations[computation].get(loop.operands[0])
        if state is None or state.opcode != "tuple":
            return None

        def initial(side):
            if isinstance(side, tuple):
                return self._source(computation, state.operands[side[1]], {})
            return side

        left, right = sides
        direction = compare.attribute("direction")
        if not isinstance(left, tuple):
            left, right = right, left
            direction = _MIRRORED.get(direction)
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


_MIRRORED = {"LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE", "NE": "NE"}


def _is_known(value):
    return value is not None


def _integer(text):
    try:
        return int(text)
    except ValueError:
        return None
