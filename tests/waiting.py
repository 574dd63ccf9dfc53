"""Waiting for what a test expects, however slow the machine is."""

import asyncio
import inspect
import time

SECONDS = 30.0
_POLL_SECONDS = 0.005


async def until(condition):
    """Returns once a function, plain or async, gives what is true."""
    ends_at = time.monotonic() + SECONDS
    while True:
        is_true = condition()
        if inspect.isawaitable(is_true):
            is_true = await is_true
        if is_true:
            return
        _check(ends_at)
        await asyncio.sleep(_POLL_SECONDS)


async def for_others(turns=20):
    """Lets every other task of the loop go as far as it can by itself."""
    for _ in range(turns):
        await asyncio.sleep(0)


def block_until(condition):
    """As `until`, for a plain function and without a loop."""
    ends_at = time.monotonic() + SECONDS
    while not condition():
        _check(ends_at)
        time.sleep(_POLL_SECONDS)


def _check(ends_at):
    if time.monotonic() > ends_at:
        raise AssertionError(f"not so within {SECONDS:g} s")
