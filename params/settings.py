"""Settings: values that say what they mean and within which bounds they lie.

A class of settings is a frozen dataclass derived from `Section`; each of its
fields is a `value`, or another section.
"""

import dataclasses
import textwrap
from collections import abc
from typing import Any, TypeVar

from lingvo_like import field_types, hyperparams

_Value = TypeVar("_Value")
_WIDTH = 78


@dataclasses.dataclass(frozen=True)
class _Facts:
    """The meaning, bounds and choices of a field, as `value` takes them."""

    meaning: str
    at_least: float | None
    above: float | None
    at_most: float | None
    below: float | None
    choices: tuple[str, ...]

    @property
    def bounds(self) -> str:
        """The bounds in words; empty without any."""
        words = [
            "positive" if self.above == 0 else f"above {self.above}",
            f"at least {self.at_least}",
            f"at most {self.at_most}",
            f"below {self.below}",
        ]
        given = (self.above, self.at_least, self.at_most, self.below)
        return " and ".join(
            each
            for each, bound in zip(words, given, strict=True)
            if bound is not None
        )

    def hold(self, number: float | None) -> bool:
        """Whether a number lies within the bounds; NaN never does."""
        return number is None or (
            number == number
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )


def value(
    default: _Value,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> _Value:
    """A field of a `Section`.

    Args:
        meaning: a sentence or more, for whoever sets the value.
        at_least, above, at_most, below: bounds of a number, or of each of a
            tuple's.
        choices: all that a string may be.
    """
    facts = _Facts(meaning, at_least, above, at_most, below, choices)
    made: Any = dataclasses.field(default=default, metadata={"facts": facts})
    return made


class Section:
    """Base class of settings; messages name a value as `--set` does.

    Raises:
        ValueError: a value is out of its bounds, or none of its choices.
    """

    # Empty outside of experiments.
    section_name = ""

    def __post_init__(self) -> None:
        for field in _fields(self):
            facts, found = field.metadata["facts"], getattr(self, field.name)
            if facts.choices and found not in facts.choices:
                raise ValueError(
                    f"{self._path(field.name)} must be one of "
                    f"{', '.join(facts.choices)}. Received: {found!r}."
                )
            items = found if isinstance(found, tuple) else (found,)
            if facts.bounds and not all(map(facts.hold, items)):
                raise ValueError(
                    f"{self._path(field.name)} must be {facts.bounds}. "
                    f"Received: {found}."
                )

    def _path(self, field: str) -> str:
        prefix = f"{self.section_name}." if self.section_name else ""
        return f"`{prefix}{field}`"


def describe(values: Any) -> str:
    """Lists settings: name, default, type and meaning of each.

    Args:
        values: a dataclass of settings, or of sections of them.
    """
    return "\n".join(_lines(values, ""))


def _lines(values: Any, prefix: str) -> abc.Iterator[str]:
    types = hyperparams.annotations(type(values))
    for field in dataclasses.fields(values):
        found, path = getattr(values, field.name), prefix + field.name
        if hyperparams.is_section(found):
            title = (type(found).__doc__ or "").strip().splitlines()[0]
            yield f"\n{path}: {title}"
            yield from _lines(found, f"{path}.")
            continue
        facts = field.metadata["facts"]
        kind = field_types.name(types[field.name])
        if facts.choices:
            kind = f"one of {', '.join(facts.choices)}"
        limits = f", {facts.bounds}" if facts.bounds else ""
        yield f"  {path}={field_types.write(found)}  ({kind}{limits})"
        yield textwrap.indent(textwrap.fill(facts.meaning, _WIDTH - 6), " " * 6)


def _fields(values: Any) -> list[dataclasses.Field]:
    """The fields that are values, not sections."""
    return [field for field in dataclasses.fields(values) if field.metadata]
