"""What a compiler says of one chip's program, and what follows from it."""

import dataclasses

from tpu.aot import topology as topologies


@dataclasses.dataclass(frozen=True)
class CompileReport:
    """What one chip's program takes.

    Attributes:
        topology: the `tpu.aot.topology.Topology` compiled for.
        compile_seconds: how long the TPU compiler took.
        flops: arithmetic of one call.
        bytes_accessed: memory traffic of one call as the compiler counts it,
            that inside the chip included, so at least what HBM sees.
        argument_bytes: arguments and variables.
        output_bytes: results and new values of variables.
        alias_bytes: the part of the output that lives in arguments' memory.
        temporary_bytes: most memory of intermediate values.
        code_bytes: the program itself.
        lower_seconds: how long TensorFlow took to trace and lower.
        collectives: dict of kind to (count, bytes of their results).
        host_operations: what the chip leaves to its host; empty in a program
            that runs on the chip alone.
        host_bytes: memory of the host that the program uses.
        loops: for each loop, how often its body runs at most, None where the
            program does not say; `flops` and `bytes_accessed` count such a
            body once.
    """

    topology: topologies.Topology
    compile_seconds: float
    flops: float
    bytes_accessed: float
    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    temporary_bytes: int
    code_bytes: int
    lower_seconds: float = 0.0
    collectives: dict = dataclasses.field(default_factory=dict)
    host_operations: tuple[str, ...] = ()
    host_bytes: int = 0
    loops: tuple[int | None, ...] = ()

    @property
    def memory_bytes(self):
        """HBM that the program needs in all."""
        return (
            self.argument_bytes
            + self.output_bytes
            - self.alias_bytes
            + self.temporary_bytes
            + self.code_bytes
        )

    @property
    def hbm_bytes(self):
        """HBM of the chip that a program may have."""
        return self.topology.chip.program_hbm_bytes

    @property
    def free_bytes(self):
        """What a program of this chip could still take."""
        return self.hbm_bytes - self.memory_bytes

    @property
    def hbm_fraction(self):
        """`memory_bytes` over `hbm_bytes`; above 1 it does not fit."""
        return self.memory_bytes / self.hbm_bytes

    @property
    def collective_bytes(self):
        """Bytes of the results of all collectives."""
        return sum(size for _, size in self.collectives.values())

    @property
    def compute_seconds(self):
        """The arithmetic at the chip's bfloat16 peak: no call is quicker."""
        chip = self.topology.chip
        return self.flops / (chip.peak_bfloat16_tflops_per_second * 1e12)

    @property
    def memory_seconds(self):
        """The traffic at the chip's peak HBM bandwidth."""
        chip = self.topology.chip
        return self.bytes_accessed / (chip.hbm_gigabytes_per_second * 1e9)

    @property
    def roofline_seconds(self):
        """An estimate of a call: Williams et al. 2009, the roofline model.

        Of the slower one of arithmetic and traffic. No bound where that is
        traffic: part of what the compiler counts never leaves the chip.
        """
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self):
        """`"compute"` or `"memory"`, whichever sets the roofline."""
        if self.compute_seconds >= self.memory_seconds:
            return "compute"
        return "memory"

    def to_dict(self):
        """The figures, as JSON values."""
        return {
            "topology": self.topology.name,
            "num_chips": self.topology.num_chips,
            "lower_seconds": round(self.lower_seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "hbm_bytes_used": self.memory_bytes,
            "hbm_bytes": self.hbm_bytes,
            "hbm_fraction": self.hbm_fraction,
            "argument_bytes": self.argument_bytes,
            "temporary_bytes": self.temporary_bytes,
            "code_bytes": self.code_bytes,
            "flops": self.flops,
            "bytes_accessed": self.bytes_accessed,
            "compute_seconds": self.compute_seconds,
            "roofline_seconds": self.roofline_seconds,
            "bound": self.bound,
            "collectives": {
                kind: {"count": count, "bytes": size}
                for kind, (count, size) in self.collectives.items()
            },
            "collective_bytes": self.collective_bytes,
            "host_operations": list(self.host_operations),
            "host_bytes": self.host_bytes,
            "loops": list(self.loops),
        }

    def rows(self):
        """The figures for people: list of (name, value)."""
        collectives = ", ".join(
            f"{count} {kind}, {size / 1e6:,.1f} MB"
            for kind, (count, size) in self.collectives.items()
        )
        return [
            (
                "topology",
                f"{self.topology.name}, {self.topology.num_chips} "
                "chips; what follows is of one",
            ),
            (
                "compiled in",
                f"{self.compile_seconds:.1f} s, after "
                f"{self.lower_seconds:.1f} s of lowering",
            ),
            (
                "HBM",
                f"{self.memory_bytes / 2**30:.2f} GiB of the "
                f"{self.topology.chip.program_hbm_gib} that a program may have "
                f"({self.hbm_fraction:.1%})",
            ),
            ("arithmetic", f"{self.flops / 1e9:,.1f} GFLOP"),
            ("bytes moved", f"{self.bytes_accessed / 1e9:,.2f} GB"),
            ("collectives", collectives or "none, 0 bytes"),
            ("on the host", ", ".join(self.host_operations) or "nothing"),
            (
                "roofline",
                f"about {self.roofline_seconds * 1e3:,.3f} ms ({self.bound}); "
                f"the arithmetic alone {self.compute_seconds * 1e3:,.3f} ms",
            ),
        ]

    def __str__(self):
        return (
            f"{self.topology.name}: compiled in {self.compile_seconds:.1f} s; "
            f"{self.memory_bytes / 2**20:.1f} MiB "
            f"({self.hbm_fraction:.1%} of a chip); "
            f"{self.flops / 1e9:.1f} GFLOP, "
            f"{self.bytes_accessed / 1e6:.1f} MB accessed; "
            f"about {self.roofline_seconds * 1e3:.3f} ms ({self.bound})"
        )
