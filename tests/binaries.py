"""Runs the binaries as a user does."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def run(binary, *arguments, **environment):
    """Runs `python -m tasks.BINARY` to its end, and keeps what it printed.

    In a process of its own: two binaries of one process share their flags.
    """
    return subprocess.run(
        [sys.executable, "-m", f"tasks.{binary}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def flags(values):
    """The arguments that give flags these values, by name."""
    return [f"--{name}={value}" for name, value in values.items()]
