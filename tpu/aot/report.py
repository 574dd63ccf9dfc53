"""The compiler's figures for the program of one chip, and what follows."""

import dataclasses

from tpu.aot import topology as topologies


@dataclasses.dataclass(frozen=True)
class CompileReport:
    """Memory, arithmetic and traffic of the program of one chip.

    Attributes:
        flops: arithmetic of one call, every loop at its longest.
        bytes_accessed: memory traffic of one call as the compiler counts it.
            It includes traffic inside the chip, so HBM sees at most this.
        argument_bytes: arguments and variables.
        output_bytes: results and the variables' new values.
        alias_bytes: the part of the output that reuses the arguments' memory.
        temporary_bytes: peak memory of intermediate values.
        lower_seconds: time that TensorFlow took to trace and lower.
        collectives: kind to (count, bytes of their results).
        host_operations: what the chip leaves to its host; empty where the
            program runs on the chip alone.
        loops: for each loop, how often its body runs at most. None where the
            program does not say; such a body counts once in `flops` and
            `bytes_accessed`.
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
    collectives: dict[str, tuple[int, int]] = dataclasses.field(
        default_factory=dict
    )
    host_operations: tuple[str, ...] = ()
    host_bytes: int = 0
    loops: tuple[int | None, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """HBM that the program needs in all."""
        return (
            self.argument_bytes
            + self.output_bytes
            - self.alias_bytes
            + self.temporary_bytes
            + self.code_bytes
        )

    @property
    def hbm_bytes(self) -> int:
        """HBM of the chip that one program may use."""
        return self.topology.chip.program_hbm_bytes

    @property
    def free_bytes(self) -> int:
        """HBM that the program leaves free."""
        return self.hbm_bytes - self.memory_bytes

    @property
    def hbm_fraction(self) -> float:
        """`memory_bytes` over `hbm_bytes`; above 1 it does not fit."""
        return self.memory_bytes / self.hbm_bytes

    @property
    def collective_bytes(self) -> int:
        """Bytes of the results of all collectives."""
        return sum(size for _, size in self.collectives.values())

    @property
    def compute_seconds(self) -> float:
        """Time of the arithmetic at the chip's bfloat16 peak, a lower bound."""
        chip = self.topology.chip
        return self.flops / (chip.peak_bfloat16_tflops_per_second * 1e12)

    @property
    def memory_seconds(self) -> float:
        """Time of the traffic at the chip's peak HBM bandwidth."""
        chip = self.topology.chip
        return self.bytes_accessed / (chip.hbm_gigabytes_per_second * 1e9)

    @property
    def roofline_seconds(self) -> float:
        """Estimated time of a call by the roofline model, Williams et al. 2009.

        It is the larger of arithmetic and traffic. Where that is traffic it is
        no lower bound: part of the traffic never leaves the chip.
        """
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """`"compute"` or `"memory"`, whichever sets the roofline."""
        is_compute = self.compute_seconds >= self.memory_seconds
        return "compute" if is_compute else "memory"

    def to_dict(self) -> dict:
        """The figures as JSON values."""
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

    def rows(self) -> list[tuple[str, str]]:
        """The figures as rows of a table for people: (name, value)."""
        collectives = ", ".join(
            f"{count} {kind}, {size / 1e6:,.1f} MB"
            for kind, (count, size) in self.collectives.items()
        )
        return [
            (
                "topology",
                f"{self.topology.name}, {self.topology.num_chips} chips; the "
                "figures below are for one chip",
            ),
            (
                "compile time",
                f"{self.compile_seconds:.1f} s, after "
                f"{self.lower_seconds:.1f} s of lowering",
            ),
            (
                "HBM",
                f"{self.memory_bytes / 2**30:.2f} GiB of the "
                f"{self.topology.chip.program_hbm_gib} that a program may use "
                f"({self.hbm_fraction:.1%})",
            ),
            ("arithmetic", f"{self.flops / 1e9:,.1f} GFLOP"),
            ("memory traffic", f"{self.bytes_accessed / 1e9:,.2f} GB"),
            ("collectives", collectives or "none, 0 bytes"),
            ("on the host", ", ".join(self.host_operations) or "nothing"),
            (
                "roofline",
                f"about {self.roofline_seconds * 1e3:,.3f} ms ({self.bound}); "
                f"the arithmetic alone {self.compute_seconds * 1e3:,.3f} ms",
            ),
        ]
