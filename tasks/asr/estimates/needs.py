"""Says what a job needs, and refuses what takes more memory than there is."""

import sys
from collections import abc

from tasks import tables
from tasks.asr.estimates import machine

# Of the memory that is free: an estimate is no measurement.
_SPARE = 0.95


def check(
    num_bytes: float,
    seconds: float,
    purpose: str,
    advice: abc.Callable[[float], str],
    check_memory: bool = True,
) -> None:
    """Prints what a job needs, and refuses it where it does not fit.

    Args:
        seconds: of all its steps.
        purpose: what it is for, such as "to train".
        advice: says what fits into so many bytes.
        check_memory: False to go on all the same, after a warning.

    Raises:
        ValueError: it takes more memory than there is.
    """
    # What this process has already is in an estimate, too.
    free = machine.free_bytes() + machine.used_bytes()
    print(
        f"estimate: about {memory(num_bytes)} of memory, of {memory(free)} "
        f"free, and {duration(seconds)} {purpose}",
        flush=True,
    )
    if num_bytes <= _SPARE * free:
        return
    message = (
        f"this takes about {memory(num_bytes)} of memory, and {memory(free)} "
        f"are free. {advice(_SPARE * free)}"
    )
    if check_memory:
        raise ValueError(
            f"{message}. --nocheck_memory runs it as it is; the system ends a "
            "program that takes more than there is"
        )
    print(f"warning: {message}", file=sys.stderr)


def memory(num_bytes: float) -> str:
    """An amount in words, such as "1.5 GiB"."""
    return f"{max(num_bytes, 0) / 2**30:.1f} GiB"


def duration(seconds: float) -> str:
    """Such as "1 second", "40 seconds", "6 minutes" or "3.5 hours"."""
    if seconds < 90:
        return tables.counted(max(1, round(seconds)), "second")
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
