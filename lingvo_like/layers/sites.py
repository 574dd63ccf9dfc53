"""Sites: the places in a base model where a Submodel acts.

A site is a projection, such as `encoder/block_02/attention/query`, or an
activation, such as the output of a block, `encoder/block_02/output`. A layer
gives what happens at a site to the function of that site, if there is one, and
goes on with the result.
"""

import dataclasses
from collections import abc
from typing import TypeAlias

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor
# From what enters a site's projection and what comes out of it to what goes on.
# At an activation, both are the activation.
SiteFunction: TypeAlias = abc.Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Site:
    """One site and its widths.

    Attributes:
        name: its path in the base model.
        input_dim: width of what enters the projection; 0 at an activation.
        output_dim: width of what goes on.

    Raises:
        ValueError: a width is not one, or the name is empty.
    """

    name: str
    input_dim: int
    output_dim: int

    def __post_init__(self) -> None:
        if not self.name or self.input_dim < 0 or self.output_dim < 1:
            raise ValueError(
                "a site must have a name, an `input_dim` of at least 0 and an "
                f"`output_dim` of at least 1. Received: {self}."
            )

    @property
    def is_projection(self) -> bool:
        """Whether what goes on is `x @ kernel`, perhaps with a bias."""
        return self.input_dim > 0


class SiteFunctions:
    """The functions of a base model's sites, by name.

    Args:
        prefix: what the names begin with that `apply` and `within` take.
    """

    def __init__(
        self, functions: abc.Mapping[str, SiteFunction], prefix: str = ""
    ) -> None:
        self._functions = functions
        self._prefix = prefix

    @property
    def names(self) -> list[str]:
        """The full names of all sites that have a function."""
        return list(self._functions)

    def within(self, name: str) -> "SiteFunctions":
        """The functions of the sites inside of a part of the model."""
        return SiteFunctions(self._functions, f"{self._prefix}{name}/")

    def apply(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """Applies the site's function; `y` itself where it has none.

        Args:
            x: `[batch, time, input_dim]`; ignored at an activation.
            y: `[batch, time, output_dim]`.
        """
        function = self._functions.get(self._prefix + name)
        return y if function is None else function(x, y)


NONE = SiteFunctions({})


def unchanged(names: abc.Iterable[str]) -> SiteFunctions:
    """Functions that change nothing.

    With them a model computes what it does beside Submodels that act at these
    sites, to the last bit. With `NONE` it may take another way.
    """
    return SiteFunctions(dict.fromkeys(names, lambda x, y: y))


def projection(name: str, input_dim: int, output_dim: int) -> Site:
    return Site(name, input_dim, output_dim)


def activation(name: str, dim: int) -> Site:
    return Site(name, 0, dim)


def attention_sites(prefix: str, model_dim: int) -> list[Site]:
    """The four projections of an attention, each as wide as the model."""
    return [
        projection(f"{prefix}/{name}", model_dim, model_dim)
        for name in ("query", "key", "value", "output")
    ]


def feed_forward_sites(
    prefix: str, model_dim: int, inner_dim: int
) -> list[Site]:
    """Both projections of a feed-forward network, and what is between them."""
    return [
        projection(f"{prefix}/expand", model_dim, inner_dim),
        activation(f"{prefix}/inner", inner_dim),
        projection(f"{prefix}/contract", inner_dim, model_dim),
    ]
