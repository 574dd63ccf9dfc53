"""The memory, threads and descriptors of a process, from /proc."""

import dataclasses
import os
import pathlib


@dataclasses.dataclass(frozen=True)
class Usage:
    """One look at a process."""

    resident_bytes: int
    threads: int
    descriptors: int


def usage(pid="self"):
    """The `Usage` of a process of this machine."""
    folder = pathlib.Path("/proc") / str(pid)
    fields = {
        name: value
        for name, _, value in (
            line.partition(":")
            for line in (folder / "status").read_text().splitlines()
        )
    }
    return Usage(
        resident_bytes=int(fields["VmRSS"].split()[0]) * 1024,
        threads=int(fields["Threads"]),
        descriptors=len(os.listdir(folder / "fd")),
    )
