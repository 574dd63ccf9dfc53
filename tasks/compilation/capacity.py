"""Finds by compiling the number of Submodels that a chip holds."""

import bisect
import dataclasses
import math
from collections import abc

from tpu.aot import compiler, report as aot_report

# How many programs to compile after the one that was asked for.
_ATTEMPTS = 6
# How near to the largest number is near enough, as a fraction of it: a program
# of the paper's scale compiles for minutes.
_PRECISION = 0.02


@dataclasses.dataclass(frozen=True)
class Capacity:
    """The number of Submodels that fit on a chip.

    Attributes:
        report, error: of the number asked for; one of them is None.
        most: the largest number that was found to fit; 0 if the batch alone
            does not.
        confirmed: whether `most` was compiled, not only computed.
    """

    report: aot_report.CompileReport | None
    error: compiler.DoesNotFitError | None
    most: int
    slot_bytes: float
    confirmed: bool


def measure(
    compile_at: abc.Callable[[int], aot_report.CompileReport],
    num_slots: int,
    least: int,
    slot_bytes: float,
    confirm: bool = True,
) -> Capacity:
    """Finds the largest number of Submodels whose program fits on a chip.

    Args:
        compile_at: compiles the program of a number of Submodels, or raises
            a `DoesNotFitError`.
        num_slots: the number asked for.
        least: the Submodels of a step, below which no number makes sense.
        slot_bytes: memory of one Submodel, before any padding.
        confirm: whether to find the number by compiling; else it is computed.
    """
    report, error = _try(compile_at, num_slots)
    if not confirm:
        free = report.free_bytes if report else -error.excess_bytes
        most = num_slots + math.floor(free / slot_bytes)
        if error and most < least:
            most = 0
        return Capacity(report, error, most, slot_bytes, False)
    # The largest number known to fit, and the smallest known not to.
    fits = (num_slots, report) if report else None
    refused = (num_slots, error) if error else None
    for attempt in range(_ATTEMPTS):
        if fits:
            number = _between(fits, refused, slot_bytes)
        else:
            number = _below(refused, least, slot_bytes, attempt)
        if number is None:
            break
        found, too_many = _try(compile_at, number)
        if found:
            fits = (number, found)
        else:
            refused = (number, too_many)
    if not fits:
        return Capacity(report, error, 0, slot_bytes, False)
    most, last = fits
    if report and most > num_slots:
        # The compiler pads the stack; this includes the padding.
        grown = last.argument_bytes - report.argument_bytes
        slot_bytes = grown / (most - num_slots)
    return Capacity(report, error, most, slot_bytes, True)


def _between(fits, refused, slot_bytes):
    """A number worth compiling above one that fits; None if there is none."""
    low, report = fits
    room = math.floor(report.free_bytes / slot_bytes)
    if room < 1:
        return None
    if refused is None or low + room < refused[0]:
        return low + room
    high, error = refused
    if high - low <= max(1, low * _PRECISION):
        return None
    # On the line through both, but not too near to either: where memory is no
    # straight line, little would be learned there.
    share = report.free_bytes / (report.free_bytes + error.excess_bytes)
    number = low + math.floor((high - low) * min(max(share, 0.1), 0.9))
    return min(max(number, low + 1), high - 1)


def _below(refused, least, slot_bytes, attempt):
    """A number below one that does not fit; None if that is the least."""
    high, error = refused
    if high <= least:
        return None
    if attempt == _ATTEMPTS - 1:
        return least
    # Each attempt goes further, since the size was too optimistic before. The
    # compiler rounds the excess, even to nothing.
    step = max(
        math.ceil(error.excess_bytes * 2**attempt / slot_bytes),
        math.ceil(high * _PRECISION),
    )
    return max(least, high - step)


def largest(compile_at: abc.Callable[[int], object], at_most: int) -> int:
    """The largest number from 1 to `at_most` whose program fits; else 0."""

    def is_too_large(number: int) -> bool:
        return _try(compile_at, number)[1] is not None

    return bisect.bisect_left(range(1, at_most + 1), True, key=is_too_large)


def _try(compile_at, num_slots):
    try:
        return compile_at(num_slots), None
    except compiler.DoesNotFitError as error:
        return None, error
