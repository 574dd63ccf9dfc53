"""The text of HLO, XLA's program: instructions, types and computations."""

import dataclasses
import math
import re

_ARRAY = re.compile(r"(\w+)\[([\d,<=]*)\]")
_BITS = re.compile(r"\d+")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)"
    r"=%([\w.\-]+)|(?:branch_computations|called_computations)=\{([^}]*)\}"
)
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (.*)$")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction: `%name = type opcode(operands), attributes`."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    # What stands between the parentheses, a constant's value for instance.
    arguments: str
    attributes: str

    @property
    def called(self):
        """Names of the computations that it calls."""
        return [
            name
            for one, many in _CALLED.findall(self.attributes)
            for name in ([one] if one else _NAME.findall(many))
        ]

    def attribute(self, name):
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else None


@dataclasses.dataclass(frozen=True)
class Computation:
    """One computation of a module.

    Attributes:
        name: str.
        is_entry: bool.
        lines: list of str, its text.
        instructions: dict of name to `Instruction`.
    """

    name: str
    is_entry: bool
    lines: list
    instructions: dict


def computations(text):
    """Every `Computation` of a module's text, in its order."""
    header = None
    for line in text.splitlines():
        if header is None:
            header = _HEADER.match(line) if line.endswith("{") else None
            lines = [line]
            continue
        lines.append(line)
        if line.startswith("}"):
            yield Computation(
                header[2],
                bool(header[1]),
                lines,
                dict(_instructions(lines)),
            )
            header = None


def type_bytes(type_text):
    """Bytes of a type such as `f32[2,3]{1,0}`, or of a tuple of them."""
    total = 0
    for kind, shape in _ARRAY.findall(type_text):
        bits = _BITS.search(kind)
        width = 8 if kind == "pred" else int(bits[0]) if bits else 0
        sizes = [int(size.lstrip("<=")) for size in shape.split(",") if size]
        total += math.prod(sizes) * width // 8
    return total


def _instructions(lines):
    for line in lines[1:]:
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        name, rest = found.groups()
        end = _closing(rest) + 1 if rest.startswith("(") else rest.find(" ")
        kind, rest = rest[:end], rest[end:].lstrip()
        opcode, _, rest = rest.partition("(")
        end = _closing("(" + rest) - 1
        arguments, attributes = rest[:end], rest[end + 1 :]
        yield (
            name,
            Instruction(
                name,
                kind,
                opcode,
                tuple(_NAME.findall(arguments)),
                arguments,
                attributes,
            ),
        )


def _closing(text):
    """Where the parenthesis that `text` begins with closes."""
    depth = 0
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if not depth:
                return position
    return len(text)


def elements(type_text):
    """The element types of a tuple type."""
    inner, start, depth, found = type_text[1:-1], 0, 0, []
    for position, character in enumerate(inner + ","):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and not depth:
            found.append(inner[start:position].strip())
            start = position + 1
    return found
