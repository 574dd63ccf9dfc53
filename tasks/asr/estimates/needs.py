"""Says what a job needs, and refuses what takes more memory than there is."""

import dataclasses
import sys
from collections import abc

from tasks.asr.estimates import machine, words

# Of the memory that is free: an estimate is no measurement.
_SPARE = 0.95


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory that there is for this process, with what it has already."""

    free: float

    @property
    def usable(self) -> float:
        """What an estimate may come to."""
        return _SPARE * self.free


def memory() -> Memory:
    """Measures it."""
    return Memory(machine.free_bytes() + machine.used_bytes())


def rates() -> tuple[float, float]:
    """Products and floats a second of this machine, for `cost.Shapes`."""
    return machine.products_per_second(), machine.floats_per_second()


def check(
    num_bytes: float,
    seconds: float,
    advice: abc.Callable[[Memory], str],
    check_memory: bool = True,
) -> None:
    """Prints what a job needs, and refuses it where it does not fit.

    Args:
        seconds: of all its steps.
        advice: says what fits into a `Memory`.
        check_memory: False to go on all the same, after a warning.

    Raises:
        ValueError: it takes more memory than there is.
    """
    there = memory()
    print(
        f"estimate: {words.memory(num_bytes)} of memory at most, of "
        f"{words.memory(there.free)} free; {words.duration(seconds)}",
        flush=True,
    )
    if num_bytes <= there.usable:
        return
    message = (
        f"this takes about {words.memory(num_bytes)} of memory, and "
        f"{words.memory(there.free)} are free. {advice(there)}"
    )
    if check_memory:
        raise ValueError(
            f"{message}. --nocheck_memory runs it as it is; the system ends a "
            "program that takes more than there is"
        )
    print(f"warning: {message}", file=sys.stderr)
