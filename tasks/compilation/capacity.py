"""How many Submodels a chip holds, found by compiling."""

import dataclasses
import math

from tpu import compile_report, compiler

# Estimates that the compiler is asked to confirm before the last one stands.
_ATTEMPTS = 6


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

    report: compile_report.CompileReport | None
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
        confirm: bool, compile at the number found; else compute it alone.

    Returns:
        `Capacity`.
    """
    report, error = _try(compile_at, num_slots)
    if error:
        needed, available = error.needed_bytes, error.available_bytes
    else:
        needed = report.memory_bytes
        available = needed + report.free_bytes

    most = num_slots + math.floor((available - needed) / slot_bytes)
    if not confirm:
        return Capacity(report, error, max(most, 0), slot_bytes, False)
    last, slope = num_slots, slot_bytes
    for attempt in range(_ATTEMPTS):
        if most < least or (report and most <= num_slots):
            break
        found, refused = _try(compile_at, most)
        if found:
            if report:
                # As the compiler lays the stack out, padding included.
                grown = found.argument_bytes - report.argument_bytes
                slot_bytes = grown / (most - num_slots)
            return Capacity(report, error, most, slot_bytes, True)
        # What one takes near the limit, by the line through the last two.
        grown = (refused.needed_bytes - needed) / (most - last)
        slope = grown if grown > 0 else slope
        last, needed = most, refused.needed_bytes
        # Further than the line says where the line was wrong before.
        most -= max(1, math.ceil(refused.excess_bytes * 2**attempt / slope))
    if report:
        return Capacity(report, error, num_slots, slot_bytes, True)
    # The estimates went too far down, or none of them could be confirmed.
    if num_slots > least and _try(compile_at, least)[0]:
        return Capacity(report, error, least, slot_bytes, True)
    return Capacity(report, error, 0, slot_bytes, False)


def largest(fits, at_most):
    """The largest number from 1 to `at_most` for which `fits` is true.

    Args:
        fits: function of an int that is true up to some number and false
            beyond it.
        at_most: int.

    Returns:
        int; 0 if not even 1 fits.
    """
    low, high = 0, at_most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _try(compile_at, num_slots):
    try:
        return compile_at(num_slots), None
    except compiler.DoesNotFitError as error:
        return None, error
