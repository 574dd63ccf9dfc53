"""Compiles a TensorFlow function for a named TPU, on a machine without one.

The function is lowered to HLO by TensorFlow and compiled by libtpu, through
JAX, which both come with `pip install -e '.[aot]'`. Nothing runs: the report
says what the compiler knows, memory and arithmetic, for the program of one
chip.

JAX's names used here are private, so setup.cfg pins its version.
"""

import dataclasses
import os
import re
import time

import numpy as np
import tensorflow as tf

from tpu import topology as topologies

# What libtpu would otherwise ask the metadata server of a TPU VM for.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "JAX_PLATFORMS": "cpu",
}

# TensorFlow marks a variable's new value with a copy that the TPU compiler
# does not know. A barrier of one operand means the same.
_MHLO_COPY = re.compile(r"= mhlo\.copy (%[\w#]+) : (tensor<[^>]*>)")
_BARRIER = r"= stablehlo.optimization_barrier \1 : \2"


@dataclasses.dataclass(frozen=True)
class CompileReport:
    """What one chip's program takes.

    Attributes:
        topology: the `tpu.topology.Topology` compiled for.
        compile_seconds: how long the TPU compiler took.
        flops: arithmetic of one call.
        bytes_accessed: HBM traffic of one call.
        argument_bytes: arguments and variables.
        output_bytes: results and new values of variables.
        alias_bytes: the part of the output that lives in arguments' memory.
        temporary_bytes: most memory of intermediate values.
        code_bytes: the program itself.
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
    def hbm_fraction(self):
        """`memory_bytes` over the chip's memory; above 1 it does not fit."""
        return self.memory_bytes / (self.topology.chip.hbm_gib * 2**30)

    @property
    def compute_seconds(self):
        """The arithmetic at the chip's bfloat16 peak."""
        chip = self.topology.chip
        return self.flops / (chip.peak_bfloat16_tflops_per_second * 1e12)

    @property
    def memory_seconds(self):
        """The traffic at the chip's peak HBM bandwidth."""
        chip = self.topology.chip
        return self.bytes_accessed / (chip.hbm_gigabytes_per_second * 1e9)

    @property
    def roofline_seconds(self):
        """No call can be quicker: Williams et al. 2009, the roofline model."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self):
        """`"compute"` or `"memory"`, whichever sets the roofline."""
        if self.compute_seconds >= self.memory_seconds:
            return "compute"
        return "memory"

    def __str__(self):
        return (
            f"{self.topology.name}: compiled in {self.compile_seconds:.1f} s; "
            f"{self.memory_bytes / 2**20:.1f} MiB "
            f"({self.hbm_fraction:.1%} of a chip); "
            f"{self.flops / 1e9:.1f} GFLOP, "
            f"{self.bytes_accessed / 1e6:.1f} MB accessed; "
            f"at least {self.roofline_seconds * 1e3:.3f} ms ({self.bound})"
        )


def compile(function, args, topology):
    """Compiles `function(*args)` for one chip of a topology.

    Args:
        function: a Python function or `tf.function` of tensors. It may read
            and assign variables that exist already.
        args: sequence of tensors, arrays or `tf.TensorSpec`s of static shape.
        topology: str, a name that `tpu.topology.lookup` knows.

    Returns:
        a `CompileReport`.

    Raises:
        ValueError: the topology is unknown, a shape is not static, or the
            function holds what XLA cannot compile for a TPU.
        OSError: JAX and libtpu are not installed.
    """
    target = topologies.lookup(topology)
    specs = _specs(args)
    device = _device(target)
    module = _lower(function, specs)
    start = time.perf_counter()
    executable = _compile_module(module, device, target)
    seconds = time.perf_counter() - start
    memory = executable.get_compiled_memory_stats()
    cost = executable.cost_analysis()
    return CompileReport(
        topology=target,
        compile_seconds=seconds,
        flops=cost["flops"],
        bytes_accessed=cost["bytes accessed"],
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
    )


def _specs(args):
    specs = [
        arg
        if isinstance(arg, tf.TensorSpec)
        else tf.TensorSpec.from_tensor(tf.convert_to_tensor(arg))
        for arg in args
    ]
    for position, spec in enumerate(specs):
        if not spec.shape.is_fully_defined():
            raise ValueError(
                f"argument {position} must have a static shape, since a TPU "
                f"program is compiled for one. Received: {spec.shape}."
            )
    return specs


def _lower(function, specs):
    """The function's HLO as StableHLO text."""
    from jax._src.lib import xla_client

    python_function = getattr(function, "python_function", function)

    # TensorFlow takes an argument left at its default for one more tensor.
    def call(*tensors):
        return python_function(*tensors)

    compiled = tf.function(call, jit_compile=True)
    # Asked for a platform by name, TensorFlow refuses variables. The HLO of
    # the CPU device is the same: no platform has left its mark on it yet.
    try:
        with tf.device("/cpu:0"):
            hlo = compiled.experimental_get_compiler_ir(*specs)(
                stage="hlo_serialized"
            )
    except (tf.errors.OpError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"XLA cannot lower the function: {reason}") from error
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(
        xla_client.XlaComputation(hlo)
    )
    if isinstance(text, bytes):
        text = text.decode()
    return _MHLO_COPY.sub(_BARRIER, text)


def _device(target):
    """The first device of the topology, described, not present."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from jax.experimental import topologies as jax_topologies
    except ImportError as error:
        raise OSError(
            "compiling for a TPU needs JAX and libtpu: pip install -e '.[aot]'"
        ) from error
    try:
        description = jax_topologies.get_topology_desc(
            platform="tpu", topology_name=target.compiler_name
        )
    except (RuntimeError, ImportError) as error:
        raise OSError(
            f"libtpu does not answer for {target.name}: {error}. "
            "Install it with: pip install -e '.[aot]'"
        ) from error
    return description.devices[0]


def _compile_module(text, device, target):
    from jax._src import compiler
    from jax._src.interpreters import mlir as jax_mlir
    from jax._src.lib import xla_client
    from jaxlib.mlir import ir

    options = compiler.get_compile_options(
        num_replicas=1,
        num_partitions=1,
        device_assignment=np.array([[device.id]]),
    )
    with jax_mlir.make_ir_context():
        module = ir.Module.parse(text)
        try:
            return device.client.compile(
                module, xla_client.DeviceList((device,)), options
            )
        except RuntimeError as error:
            raise ValueError(
                f"the TPU compiler refuses the function for {target.name}: "
                f"{error}"
            ) from error
