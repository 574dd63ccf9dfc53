"""Reads a server's Prometheus metrics."""

from prometheus_client import parser


class Scrape:
    """One look at all metrics.

    Args:
        text: str, in Prometheus's format.
    """

    def __init__(self, text):
        self._samples = [
            sample
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def value(self, name, **labels):
        """The sum of a metric over all that have these labels; 0 of none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name
            and all(sample.labels.get(k) == v for k, v in labels.items())
        )

    def count(self, name):
        """How often a histogram was observed."""
        return int(self.value(f"{name}_count"))

    def mean(self, name):
        """The mean of a histogram; None of nothing."""
        count = self.count(name)
        return self.value(f"{name}_sum") / count if count else None
