"""Variants that take turns, and what programs that do so share.

Only Python's own library is needed: the programs run in several environments,
one with JAX and one with PyTorch.
"""

import argparse
import json
import statistics
import time
from collections import abc
from typing import Any

# Whisper tiny.en.
MODEL_DIM, NUM_HEADS, NUM_BLOCKS, FEED_FORWARD_DIM = 384, 6, 4, 1536
VOCABULARY_SIZE, BINS = 51864, 80
# Of products; weights that train stay in float32.
DTYPES = ("float32", "bfloat16")

Times = dict[Any, list[float]]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all of these programs have."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawTextHelpFormatter
    )
    result.add_argument("--rounds", type=int, default=9)
    result.add_argument("--steps", type=int, default=1, help="in a round")
    result.add_argument("--frames", type=int, default=500)
    result.add_argument("--bottleneck_dim", type=int, default=32)
    return result


def parser_of_part(doc: str | None) -> argparse.ArgumentParser:
    """That of a program which runs in one type of numbers."""
    result = parser(doc)
    result.add_argument("--dtype", default=DTYPES[0], choices=DTYPES)
    result.add_argument(
        "--partial", action="store_true", help="also print results so far"
    )
    return result


def report(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Prints the results so far, if `--partial` asks for them."""
    if arguments.partial:
        print(json.dumps(results), flush=True)


def attempt(name: str, function: abc.Callable[[], Any]) -> Any:
    """What the function returns, or its error, which does not end the rest."""
    try:
        return function()
    # What a compiler or a device cannot do comes as any exception.
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:300]
        print(f"{name:9} failed: {text}", flush=True)
        return {"error": text}


def numbers(text: str) -> list[int]:
    """The numbers of a flag such as `1,128`."""
    return [int(part) for part in text.split(",")]


def take(
    functions: abc.Mapping[Any, abc.Callable[[], Any]],
    wait: abc.Callable[[Any], object],
    arguments: argparse.Namespace,
) -> Times:
    """Seconds of a step in each round, by the function's name.

    Args:
        functions: start a step each, and need not wait until it is done.
        wait: gets what the last step of a round returned, and returns when
            all of them are done.
    """
    times = {name: [] for name in functions}
    for _ in range(arguments.rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(arguments.steps):
                result = function()
            wait(result)
            seconds = time.perf_counter() - start
            times[name].append(seconds / arguments.steps)
    return times


def median_ms(times: Times, name: Any) -> float:
    return round(1e3 * statistics.median(times[name]), 3)


def ratio(times: Times, name: Any, other: Any) -> float:
    """The median over rounds of one's time over another's."""
    pairs = zip(times[name], times[other], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 4)
