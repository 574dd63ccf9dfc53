"""The layout of a Submodel: which tensors it has, and their packed order."""

import collections
import dataclasses
import fnmatch
import functools
import math
import types
from collections import abc
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import hyperparams, tensor_types
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel.kinds import by_name, kind as kind_lib

Tensor: TypeAlias = tensor_types.Tensor
# By the name of a piece, what its kind needs of the base.
Constants: TypeAlias = abc.Mapping[str, abc.Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Part:
    """One kind of Submodel, with its hyperparameters, at some sites.

    Raises:
        ValueError: there is no site, or the kind cannot act at one.
    """

    kind: kind_lib.Kind
    sites: tuple[sites_lib.Site, ...]

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError(f"{self.kind.name} must have at least one site")
        for site in self.sites:
            self.kind.check(site)


class Piece(NamedTuple):
    """One kind at one site."""

    kind: kind_lib.Kind
    site: sites_lib.Site

    @property
    def name(self) -> str:
        """Such as `encoder/block_02/output/adapter`."""
        return f"{self.site.name}/{self.kind.name}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The kinds and the sites of a Submodel.

    Where several kinds act at one site, they act in the order of the parts.

    Raises:
        ValueError: there is no part, or a kind is at a site twice.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a Submodel must have a kind at a site")
        counts = collections.Counter(piece.name for piece in self.pieces)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"a kind is at a site twice: {twice[0]}")

    @functools.cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Every kind at every site, in the order of the parts."""
        return tuple(
            Piece(part.kind, site) for part in self.parts for site in part.sites
        )

    @functools.cached_property
    def site_names(self) -> tuple[str, ...]:
        """The sites, each once."""
        return tuple(dict.fromkeys(piece.site.name for piece in self.pieces))

    @functools.cached_property
    def shapes(self) -> abc.Mapping[str, tuple[int, ...]]:
        """Shape of each tensor by name, in the packed order.

        A name is a piece's and a weight's, such as
        `encoder/block_02/output/adapter/down_kernel`.
        """
        return types.MappingProxyType(
            {
                f"{piece.name}/{name}": shape
                for piece in self.pieces
                for name, shape in piece.kind.weight_shapes(piece.site).items()
            }
        )

    @property
    def initial_deviations(self) -> dict[str, float]:
        """Standard deviations of the tensors that start as normal draws."""
        return {
            f"{piece.name}/{name}": deviation
            for piece in self.pieces
            for name, deviation in piece.kind.initial_deviations(
                piece.site
            ).items()
        }

    @functools.cached_property
    def num_values(self) -> int:
        """Length of the packed vector."""
        return sum(map(math.prod, self.shapes.values()))

    def weights_of(
        self, piece: Piece, tensors: tensor_types.TensorsByName
    ) -> dict[str, Tensor]:
        """The tensors of one piece, by the names that the kind gives them."""
        return {
            name: tensors[f"{piece.name}/{name}"]
            for name in piece.kind.weight_shapes(piece.site)
        }

    def is_identity(self, tensors: tensor_types.TensorsByName) -> bool:
        """Whether a Submodel with these tensors is the base model."""
        return all(
            piece.kind.is_identity(self.weights_of(piece, tensors))
            for piece in self.pieces
        )

    def constants(
        self, kernel: abc.Callable[[str], np.ndarray]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Arrays that the kinds need of a base model, by the name of the piece.

        `kernel` is the `BaseModel.kernel` of it.
        """
        return {
            piece.name: piece.kind.constants(piece.site, kernel)
            for piece in self.pieces
        }

    def unpack(self, vectors: Tensor) -> dict[str, Tensor]:
        """Splits packed Submodels into tensors by name, exactly.

        Args:
            vectors: `[num_values]` or `[batch, num_values]` float32; an array,
                or a tensor of a graph.

        Raises:
            ValueError: the vectors have another length or dtype.
        """
        if vectors.shape[-1] != self.num_values or vectors.dtype != np.float32:
            raise ValueError(
                f"a packed Submodel must be [{self.num_values}] float32. "
                f"Received: {list(vectors.shape)} {vectors.dtype}."
            )
        reshape = np.reshape if isinstance(vectors, np.ndarray) else ops.reshape
        batch = (-1,) * (len(vectors.shape) - 1)
        tensors, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            tensors[name] = reshape(vectors[..., start:stop], (*batch, *shape))
            start = stop
        return tensors

    def to_json(self) -> tuple[dict[str, Any], ...]:
        """The parts as JSON values."""
        return tuple(
            {
                "kind": part.kind.name,
                "values": by_name.values(part.kind),
                "sites": [
                    [site.name, site.input_dim, site.output_dim]
                    for site in part.sites
                ],
            }
            for part in self.parts
        )

    def describe(self) -> str:
        """Such as `adapter bottleneck_dim=32 residual_weight=1 at 4 sites`."""
        return ", ".join(
            f"{by_name.describe(part.kind)} at {len(part.sites)} "
            + ("site" if len(part.sites) == 1 else "sites")
            for part in self.parts
        )


def from_json(parts: abc.Iterable[Any]) -> Layout:
    """The layout of which `Layout.to_json` gave the parts.

    Raises:
        ValueError: these are not the parts of a layout.
    """
    return Layout(tuple(map(_part, parts)))


def _part(fields: Any) -> Part:
    if not isinstance(fields, dict) or set(fields) != {
        "kind",
        "values",
        "sites",
    }:
        raise ValueError(
            "a part of a Submodel must have `kind`, `values` and `sites`. "
            f"Received: {fields!r}."
        )
    if not isinstance(fields["sites"], list | tuple):
        raise ValueError(
            f"`sites` must be a list. Received: {fields['sites']!r}."
        )
    kind = by_name.make(fields["kind"], fields["values"])
    return Part(kind, tuple(map(_site, fields["sites"])))


def _site(fields: Any) -> sites_lib.Site:
    is_list = isinstance(fields, list | tuple)
    if not is_list or list(map(type, fields)) != [str, int, int]:
        raise ValueError(
            f"a site must be a name and two widths. Received: {fields!r}."
        )
    return sites_lib.Site(*fields)


def check_same(expected: Layout, received: Layout) -> None:
    """Raises a ValueError, which names the first difference, unless equal."""
    if expected == received:
        return
    if len(expected.parts) == len(received.parts):
        for wanted, came in zip(expected.parts, received.parts, strict=True):
            if wanted.kind != came.kind:
                break
            _check_same_sites(wanted, came)
    raise ValueError(
        f"a Submodel must be {expected.describe()}. "
        f"Received: {received.describe()}."
    )


def _check_same_sites(expected: Part, received: Part) -> None:
    wanted = {site.name: site for site in expected.sites}
    came = {site.name: site for site in received.sites}
    missing = [name for name in wanted if name not in came]
    more = [name for name in came if name not in wanted]
    if missing or more:
        raise ValueError(
            f"its {expected.kind.name} must act at other sites: "
            f"missing {missing[:3]}, not expected {more[:3]}"
        )
    for name, site in wanted.items():
        if came[name] != site:
            raise ValueError(
                "the widths at a site must be those of the base model, "
                f"{site}. Received: {came[name]}."
            )
    if list(wanted) != list(came):
        raise ValueError(
            f"its {expected.kind.name} must have its sites in another order: "
            f"{list(wanted)[:3]}. Received: {list(came)[:3]}."
        )


def matching_sites(
    sites: abc.Mapping[str, sites_lib.Site], patterns: abc.Iterable[str]
) -> tuple[sites_lib.Site, ...]:
    """The sites that a pattern names, in the order of the base model.

    Between slashes, a pattern is one of the shell: `encoder/*/output`,
    `*/block_0[01]/attention/*`.

    Raises:
        ValueError: a pattern names no site.
    """
    found = set()
    for pattern in patterns:
        named = {name for name in sites if _matches(name, pattern)}
        if not named:
            raise ValueError(
                f"no site of the base model matches {pattern!r}. "
                f"{hyperparams.did_you_mean(pattern, sites, _folded(sites))}"
            )
        found |= named
    return tuple(site for name, site in sites.items() if name in found)


def _folded(names: abc.Iterable[str]) -> str:
    """A few patterns that stand for hundreds of sites."""
    last_steps = collections.defaultdict(dict)
    for name in names:
        first, *middle, last = name.split("/")
        # Blocks have the same sites.
        parent = "/".join([first, "*", *middle[1:]] if middle else [first])
        last_steps[parent][last] = None
    patterns = []
    for parent, steps in last_steps.items():
        listed = ",".join(steps)
        patterns.append(
            f"{parent}/{{{listed}}}" if len(steps) > 1 else f"{parent}/{listed}"
        )
    return f"{', '.join(patterns)} (one step of those in braces)"


def _matches(name: str, pattern: str) -> bool:
    steps, wanted = name.split("/"), pattern.split("/")
    return len(steps) == len(wanted) and all(
        map(fnmatch.fnmatchcase, steps, wanted)
    )
