"""The interface of a kind of Submodel."""

from collections import abc
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from lingvo_like import tensor_types
from lingvo_like.layers import sites

Tensor: TypeAlias = tensor_types.Tensor
# Multiplies an inner activation `[speakers, rows, width]` by a dropout mask,
# whose random stream is the speaker's own.
Dropout: TypeAlias = abc.Callable[[Tensor], Tensor]


class Kind(Protocol):
    """The shapes, starting values and algebra of a Submodel at a site.

    A kind is a frozen dataclass of hyperparameters, and has no weights. All
    weights that `initial_deviations` does not name start at zero, and a new
    Submodel then changes nothing, bit for bit.
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def dropout_width(self) -> int:
        """The width of what `apply` gives to dropout; 0 for nothing."""
        ...

    def check(self, site: sites.Site) -> None:
        """Raises a ValueError if the kind cannot act at this site."""
        ...

    def weight_shapes(self, site: sites.Site) -> dict[str, tuple[int, ...]]:
        """Shapes of one speaker's weights, in the order they are packed."""
        ...

    def initial_deviations(self, site: sites.Site) -> dict[str, float]:
        """Standard deviations of the weights that start as normal draws."""
        ...

    def is_identity(self, weights: tensor_types.TensorsByName) -> bool:
        """Whether these weights of one speaker change nothing."""
        ...

    def constants(
        self, site: sites.Site, kernel: abc.Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Arrays that the kind needs of the base, the same for all speakers.

        Args:
            kernel: gives the base's kernel `[input_dim, output_dim]` of a
                projection, by the site's name.
        """
        ...

    def prepare(
        self,
        weights: tensor_types.TensorsByName,
        constants: tensor_types.TensorsByName,
    ) -> tensor_types.TensorsByName:
        """Computes what `apply` needs from the weights `[speakers, ...]`.

        It runs once, however many steps a search takes.
        """
        ...

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        prepared: tensor_types.TensorsByName,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """Applies each speaker's weights to that speaker's activations.

        Everything is computed in the type of the weights.

        Args:
            x: `[speakers, rows, input_dim]`, what enters a projection.
            y: `[speakers, rows, output_dim]`, what the base gives.
            prepared: from `prepare`.
            dropout: None outside of training.

        Returns:
            what goes on in place of `y`.
        """
        ...


class Plain:
    """The base class of kinds, most of which need nothing of the base."""

    @property
    def dropout_width(self) -> int:
        """See `Kind.dropout_width`: no dropout."""
        return 0

    def constants(
        self, site: sites.Site, kernel: abc.Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See `Kind.constants`: none."""
        return {}

    def initial_deviations(self, site: sites.Site) -> dict[str, float]:
        """See `Kind.initial_deviations`: every weight starts at zero."""
        return {}

    def is_identity(self, weights: tensor_types.TensorsByName) -> bool:
        """See `Kind.is_identity`: zeros change nothing."""
        return not any(np.any(weight) for weight in weights.values())

    def prepare(
        self,
        weights: tensor_types.TensorsByName,
        constants: tensor_types.TensorsByName,
    ) -> tensor_types.TensorsByName:
        """See `Kind.prepare`: the weights themselves."""
        return weights


def check_activation(kind: Kind, site: sites.Site) -> None:
    """Raises a ValueError unless the site is an activation."""
    if site.is_projection:
        raise ValueError(
            f"{kind.name} acts on activations, such as the output of a block. "
            f"Received: {site.name}, a projection."
        )


def check_projection(kind: Kind, site: sites.Site) -> None:
    """Raises a ValueError unless the site is a projection."""
    if not site.is_projection:
        raise ValueError(
            f"{kind.name} acts on projections, such as the query of an "
            f"attention. Received: {site.name}, an activation."
        )


def check_positive(kind: Any, *names: str) -> None:
    """Raises a ValueError unless these attributes are at least 1."""
    for name in names:
        if getattr(kind, name) < 1:
            raise ValueError(
                f"`{name}` must be positive. Received: {getattr(kind, name)}."
            )
