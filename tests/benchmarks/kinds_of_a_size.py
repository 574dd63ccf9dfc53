"""Makes each kind of Submodel as large as a number of values."""

import dataclasses

from tasks.asr import layouts
from tests.benchmarks import real_speech

_PROJECTIONS = (
    "*/*/*/query,*/*/*/value,*/*/*/expand,*/*/*/contract",
    "*/*/*/query,*/*/*/value",
    "*/*/attention/query,*/*/attention/value",
    "encoder/*/attention/query,encoder/*/attention/value",
)
_VECTORS = (
    "*/*/*/*,*/*/output",
    "*/*/*/query,*/*/*/value,*/*/*/expand,*/*/*/contract",
    "*/*/*/query,*/*/*/value,*/*/*/contract,*/*/output",
    "*/*/*/inner,*/*/output",
    "*/*/output",
    "encoder/*/output",
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The sites and the rank that a kind may have.

    Attributes:
        section: of the experiment.
        sites: to choose from, the best known first.
        rank: the field that makes it larger; "" for none.
        least: of that field.
    """

    section: str
    sites: tuple[str, ...]
    rank: str = ""
    least: int = 1

    def overrides(self, sites, rank):
        # The other kinds have no sites by default.
        found = [
            f"{section}.sites={sites if section == self.section else '()'}"
            for section in dict.fromkeys(("adapter", "lora", self.section))
        ]
        if self.rank:
            found.append(f"{self.section}.{self.rank}={rank}")
        if self.section == "lora":
            found.append(f"lora.alpha={2 * rank}")
        return found


CHOICES = {
    "adapter_encoder": Choice(
        "adapter", ("encoder/*/output",), "bottleneck_dim"
    ),
    "adapter_both": Choice("adapter", ("*/*/output",), "bottleneck_dim"),
    "lora": Choice("lora", _PROJECTIONS, "rank"),
    "rotation": Choice("rotation", _PROJECTIONS, "rank", 2),
    "bias": Choice("bias", _VECTORS),
    "scale": Choice("scale", _VECTORS),
}


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A kind at a size: the overrides, and the values of a Submodel."""

    overrides: tuple[str, ...]
    num_values: int
    is_most: bool


# The first choice of sites wins that fills so much of the budget.
NEAR = 0.85


def fit(base_sites, choice, budget, overrides=()):
    """The sites and the rank nearest to a budget, from below; None if none.

    The first sites that come near it are taken; where none do, the largest.

    Args:
        budget: values of a Submodel.
        overrides: of every job.
    """
    best, too_large = None, False
    for sites in choice.sites:
        if best and best[1] >= NEAR * budget:
            break
        rank = choice.least
        while True:
            chosen = choice.overrides(sites, rank)
            experiment = real_speech.experiment([*overrides, *chosen])
            try:
                size = layouts.of(base_sites, experiment).num_values
            except ValueError:
                # No projection has more directions to rotate.
                break
            if size > budget:
                too_large = True
                break
            if best is None or size > best[1]:
                best = tuple(chosen), size
            if not choice.rank:
                break
            rank += 1
    return best and Fitted(*best, is_most=not too_large)
