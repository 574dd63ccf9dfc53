"""How many Submodels a chip holds, found by compiling."""

import dataclasses
import math

from tpu.aot import compiler
from tpu.aot import report as aot_report

# Programs compiled after the one that was asked for.
_ATTEMPTS = 6
# How near the largest number is near enough, of that number: a program of the
# paper's scale compiles for minutes.
_PRECISION = 0.02


@dataclasses.dataclass(frozen=True)
class Capacity:
    """What fits a chip.

    Attributes:
        report: `CompileReport` at the number asked for; None if it does not
            fit.
        error: `DoesNotFitError` there, or None.
        most: int, the largest number of Submodels that was found to fit; 0 if
            the batch alone does not.
        slot_bytes: what one Submodel takes.
        confirmed: bool, `most` was compiled, not only computed.
    """

    report: aot_report.CompileReport | None
    error: compiler.DoesNotFitError | None
    most: int
    slot_bytes: float
    confirmed: bool


def measure(compile_at, num_slots, least, slot_bytes, confirm=True):
    """The largest number of Submodels whose program fits a chip.

    Args:
        compile_at: function of a number of Submodels that returns the
            `CompileReport` of their program, or raises `DoesNotFitError`.
        num_slots: int, the number asked for.
        least: int, the smallest that makes sense: those of a step.
        slot_bytes: what one Submodel takes, before any padding.
        confirm: bool, find the number by compiling; else compute it alone.

    Returns:
        `Capacity`.
    """
    report, error = _try(compile_at, num_slots)
    if not confirm:
        free = report.free_bytes if report else -error.excess_bytes
        most = num_slots + math.floor(free / slot_bytes)
        if error and most < least:
            most = 0
        return Capacity(report, error, most, slot_bytes, False)
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
        # As the compiler lays the stack out, padding included.
        grown = last.argument_bytes - report.argument_bytes
        slot_bytes = grown / (most - num_slots)
    return Capacity(report, error, most, slot_bytes, True)


def _between(fits, refused, slot_bytes):
    """A number worth compiling above one that fits; None if there is none.

    Args:
        fits: (number, `CompileReport`).
        refused: (number, `DoesNotFitError`), the least that does not fit, or
            None.
        slot_bytes: float.
    """
    low, report = fits
    room = math.floor(report.free_bytes / slot_bytes)
    if room < 1:
        return None
    if refused is None or low + room < refused[0]:
        return low + room
    high, error = refused
    if high - low <= max(1, low * _PRECISION):
        return None
    # By the line through both; not so near to one of them that little is
    # learned where memory is no straight line.
    share = report.free_bytes / (report.free_bytes + error.excess_bytes)
    number = low + math.floor((high - low) * min(max(share, 0.1), 0.9))
    return min(max(number, low + 1), high - 1)


def _below(refused, least, slot_bytes, attempt):
    """A number below one that does not fit; None if that is the least.

    Args:
        refused: (number, `DoesNotFitError`).
        least, slot_bytes: as `measure`'s.
        attempt: int, how many were compiled before.
    """
    high, error = refused
    if high <= least:
        return None
    if attempt == _ATTEMPTS - 1:
        return least
    # Further than the size says where it was wrong before.
    step = math.ceil(error.excess_bytes * 2**attempt / slot_bytes)
    return max(least, high - step)


def largest(compile_at, at_most):
    """The largest number from 1 to `at_most` whose program fits.

    Args:
        compile_at: function of an int that raises `DoesNotFitError` beyond
            some number.
        at_most: int.

    Returns:
        int; 0 if not even 1 fits.
    """
    low, high = 0, at_most
    while low < high:
        middle = (low + high + 1) // 2
        if _try(compile_at, middle)[0]:
            low = middle
        else:
            high = middle - 1
    return low


def _try(compile_at, num_slots):
    try:
        return compile_at(num_slots), None
    except compiler.DoesNotFitError as error:
        return None, error
