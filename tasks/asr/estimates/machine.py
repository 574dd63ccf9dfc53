"""The memory and the speed of this machine, as they are now."""

import os
import resource
import sys
import time

import numpy as np
import psutil

_CGROUP = "/sys/fs/cgroup"
# By version of control groups: the files of the limit, of what is in use, and
# of what its parts are.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
    ),
)
# Rows and columns of the product that is timed.
_SIDE = 1024


def free_bytes(cgroup: str = _CGROUP) -> int:
    """Memory that this process may take before the system has none left.

    The least of what the machine has free and of what the limits of the
    process's control groups leave, which containers and batch systems set.

    Args:
        cgroup: the folder of control groups.
    """
    return min(
        [psutil.virtual_memory().available]
        + [free for folder in _folders(cgroup) for free in _left(folder)]
    )


def _folders(cgroup):
    """The process's own group and those above it, which limit it as well."""
    found = [cgroup]
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            path = file.read().strip().rpartition("::")[2].strip("/")
    except OSError:
        return found
    parts = path.split("/") if "\n" not in path else []
    for number in range(1, len(parts) + 1):
        found.append(os.path.join(cgroup, *parts[:number]))
    return found


def _left(folder):
    for names in _CGROUP_FILES:
        limit, used, stat = (os.path.join(folder, name) for name in names)
        try:
            # "max" where there is no limit.
            left = int(_text(limit)) - int(_text(used))
            parts = dict(line.split() for line in _text(stat).splitlines())
        except (OSError, ValueError):
            continue
        # Files that were read count as in use, and are given up when needed.
        yield left + int(parts.get("inactive_file", 0))


def _text(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def used_bytes() -> int:
    """The memory that this process has now."""
    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def products_per_second() -> float:
    """Multiplications and additions of floats a second, in a large product."""
    square = np.ones((_SIDE, _SIDE), np.float32)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        np.dot(square, square)
        best = min(best, time.perf_counter() - start)
    return 2 * _SIDE**3 / best
