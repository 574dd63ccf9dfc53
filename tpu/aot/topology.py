"""TPU chips and topologies as data.

Sources: the "System architecture" tables of Google's Cloud TPU documentation,
cloud.google.com/tpu/docs/v4, v5e, v5p and v6e. Peaks are those of one chip in
bfloat16; a float32 matrix product runs as one or more bfloat16 passes. The HBM
that a program may use is the limit that libtpu 0.0.52 names when one needs
more.
"""

import dataclasses
import difflib
import math


@dataclasses.dataclass(frozen=True)
class Chip:
    """The figures of one chip."""

    name: str
    # Names count cores on v4 and v5p ("v4-8" has 4 chips), chips elsewhere.
    named_cores_per_chip: int
    hbm_gib: int
    peak_bfloat16_tflops_per_second: int
    hbm_gigabytes_per_second: int
    # The limit that libtpu sets one program; the published figure is rounded.
    program_hbm_gib: float
    # "megacore" makes the two cores of a chip one device, as TensorFlow and
    # JAX use them.
    compiler_config: str = "default"

    @property
    def program_hbm_bytes(self) -> int:
        return int(self.program_hbm_gib * 2**30)


@dataclasses.dataclass(frozen=True)
class Topology:
    """A grid of chips. The smallest one that is offered is one host's."""

    chip: Chip
    grid: tuple[int, ...]

    @property
    def num_chips(self) -> int:
        return math.prod(self.grid)

    @property
    def name(self) -> str:
        """Cloud TPU's name for it: `"v5e-4"`, `"v4-8"`."""
        count = self.num_chips * self.chip.named_cores_per_chip
        return f"{self.chip.name}-{count}"

    @property
    def compiler_name(self) -> str:
        """The compiler's name for it: `"v5e:2x2"`, `"v4:2x2x1"`."""
        return f"{self.chip.name}:{'x'.join(map(str, self.grid))}"


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 2, 32, 275, 1200, 30.75, "megacore"),
        Chip("v5e", 1, 16, 197, 819, 15.75),
        Chip("v5p", 2, 95, 459, 2765, 95.73, "megacore"),
        Chip("v6e", 1, 32, 918, 1638, 31.24),
    )
}

_GRIDS_2D = ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
_GRIDS_3D = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8))
_GRIDS = {"v4": _GRIDS_3D, "v5e": _GRIDS_2D, "v5p": _GRIDS_3D, "v6e": _GRIDS_2D}

TOPOLOGIES = {
    topology.name: topology
    for chip_name, grids in _GRIDS.items()
    for topology in (Topology(CHIPS[chip_name], grid) for grid in grids)
}


def lookup(name: str) -> Topology:
    """Finds a topology by Cloud TPU's name or the compiler's.

    Raises:
        ValueError: no topology has this name; the message suggests close ones.
    """
    by_compiler = {each.compiler_name: each for each in TOPOLOGIES.values()}
    known = by_compiler | TOPOLOGIES
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"Known: {', '.join(TOPOLOGIES)}."
    )
    raise ValueError(f"unknown TPU topology {name!r}. {hint}")
