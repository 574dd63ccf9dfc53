"""The results of a part of the benchmark: a table, values and verdicts."""

import sys

import numpy as np


def progress(text):
    """Tells whoever waits for the table how far it is."""
    print(text, file=sys.stderr, flush=True)


class Result:
    """The findings of one part.

    Args:
        part: str, its name.
        size: str, what ran, for the table's first line.
    """

    def __init__(self, part, size):
        self.part = part
        self.values = {}
        self.failed = []
        self._lines = [f"{part}: {size}"]

    def note(self, text):
        """Adds a line of the table that is a remark."""
        self._lines.append(f"  {text}")

    def add(self, name, value, unit="", at_least=None, at_most=None):
        """Adds a value, and a requirement if it has one.

        Args:
            name: str, its key in the JSON.
            value: number, bool, str or None for what could not be measured,
                which meets no requirement.
            unit: str, for the table.
            at_least, at_most: numbers, what is required; None for nothing.
        """
        if isinstance(value, np.generic):
            value = value.item()
        self.values[name] = value
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        line = f"  {name:<34} {shown:>12} {unit:<12}"
        for limit, word in ((at_least, "at least"), (at_most, "at most")):
            if limit is None:
                continue
            right = value is not None and (
                value >= limit if word == "at least" else value <= limit
            )
            line += f" {word} {limit:g}: {'ok' if right else 'FAILED'}"
            if not right:
                self.failed.append(name)
        self._lines.append(line.rstrip())

    def fail(self, name, why):
        """Says that the part could not show what it has to."""
        self.failed.append(name)
        self._lines.append(f"  {name}: FAILED: {why}")

    def table(self):
        """All lines as text."""
        return "\n".join(self._lines)


def percentile(values, percent):
    """A percentile of numbers, None of no numbers."""
    values = list(values)
    return float(np.percentile(values, percent)) if values else None


def percentiles_ms(result, prefix, seconds):
    """Adds p50, p90, p99 and the count of latencies in seconds."""
    result.add(f"{prefix}_n", len(seconds))
    for percent in (50, 90, 99):
        value = percentile(seconds, percent)
        result.add(
            f"{prefix}_ms_p{percent}",
            None if value is None else 1e3 * value,
            "ms",
        )


def slope(values):
    """Change over the whole of evenly taken samples, by a straight fit."""
    if len(values) < 2:
        return 0.0
    places = np.arange(len(values))
    return float(np.polyfit(places, values, 1)[0] * (len(values) - 1))
