"""Compiles a TensorFlow function for a named TPU, on a machine without one.

The function is lowered to HLO by TensorFlow and compiled by libtpu, through
JAX, which both come with `pip install -e '.[aot]'`. Nothing runs: the report
says what the compiler knows, memory and arithmetic, for the program of one
chip.

JAX's names used here are private, so setup.cfg pins its version.
"""

import dataclasses
import functools
import importlib.metadata
import logging
import os
import re
import time

import numpy as np
import tensorflow as tf

from tpu.aot import hlo
from tpu.aot import report as aot_report
from tpu.aot import topology as topologies

# The extra `aot` of setup.cfg.
VERSIONS = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.52"}

# What libtpu would otherwise ask the metadata server of a TPU VM for, and
# what it would write to stderr. Nothing here holds a TPU, so several may run.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
}

# TensorFlow marks a variable's new value with a copy that the TPU compiler
# does not know. A barrier of one operand means the same.
_MHLO_COPY = re.compile(r"= mhlo\.copy (%[\w#]+) : (tensor<[^>]*>)")
_BARRIER = r"= stablehlo.optimization_barrier \1 : \2"

_TOO_MUCH = re.compile(
    r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"
    r"|Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class DoesNotFitError(ValueError):
    """The program needs more memory than a chip has.

    Attributes:
        needed_bytes: what it needs.
        available_bytes: what the compiler may use of a chip.
    """

    def __init__(self, message, needed_bytes, available_bytes):
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes

    @property
    def excess_bytes(self):
        return self.needed_bytes - self.available_bytes


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A function as XLA takes it, before any device has left its mark.

    Attributes:
        text: StableHLO.
        specs: list of `tf.TensorSpec`, the function's arguments.
        captures: list of tensors, what it reads besides them, in the order of
            the module's later parameters; a variable's is its handle.
        lower_seconds: float.
    """

    text: str
    specs: list
    captures: list
    lower_seconds: float


def check_installed():
    """Refuses to begin without the compiler, or with another version of it.

    Raises:
        OSError: names what is missing or other, and the command that mends it.
    """
    wrong = []
    for name, version in VERSIONS.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != version:
            wrong.append(f"{name} {version} (found: {found})")
    if wrong:
        raise OSError(
            f"compiling for a TPU needs {', '.join(wrong)}: "
            "pip install -e '.[aot]'"
        )


def prepare_environment():
    """Keeps JAX and libtpu from looking for a TPU; call before either."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("jax").setLevel(logging.WARNING)


def compile(function, args, topology, num_replicas=1):
    """Compiles `function(*args)` for chips of a topology.

    Args:
        function: a Python function or `tf.function` of tensors. It may read
            and assign variables that exist already.
        args: sequence of tensors, arrays or `tf.TensorSpec`s of static shape.
        topology: str, a name that `tpu.aot.topology.lookup` knows.
        num_replicas: int, chips that run the program together; where they sum
            anything the function says so.

    Returns:
        a `compile_report.CompileReport`, of one chip.

    Raises:
        DoesNotFitError: a ValueError; the chip's memory is too small.
        ValueError: the topology is unknown, a shape is not static, or the
            function holds what XLA cannot compile for a TPU.
        OSError: JAX and libtpu are not installed, or of other versions.
    """
    target = topologies.lookup(topology)
    specs = _specs(args)
    check_installed()
    return compile_lowered(lower(function, specs), target, num_replicas)


def compile_lowered(lowered, target, num_replicas=1):
    """As `compile`, of what `lower` gave; one lowering does for all chips.

    Args:
        lowered: `Lowered`.
        target: `tpu.aot.topology.Topology`.
        num_replicas: int.
    """
    devices = _devices(target)[:num_replicas]
    start = time.perf_counter()
    executable = _compile_module(lowered.text, devices, target)
    seconds = time.perf_counter() - start
    memory = executable.get_compiled_memory_stats()
    cost = executable.cost_analysis()
    (compiled,) = executable.hlo_modules()
    module = hlo.Module(compiled.to_string())
    flops, bytes_accessed = cost["flops"], cost["bytes accessed"]
    excess = module.loop_excess(_cost_of_text)
    if excess:
        flops, bytes_accessed = flops + excess[0], bytes_accessed + excess[1]
    host_bytes = (
        memory.host_argument_size_in_bytes
        + memory.host_output_size_in_bytes
        + memory.host_temp_size_in_bytes
    )
    return aot_report.CompileReport(
        topology=target,
        lower_seconds=lowered.lower_seconds,
        compile_seconds=seconds,
        flops=flops,
        bytes_accessed=bytes_accessed,
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        collectives=module.collectives(),
        host_operations=tuple(module.host_operations()),
        host_bytes=host_bytes,
        loops=tuple(loop.trip_count for loop in module.loops()),
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


def lower(function, args):
    """The function's HLO as StableHLO text, a `Lowered`.

    Args:
        function, args: as `compile` takes them.

    Raises:
        ValueError: a shape is not static, or the function holds what XLA
            cannot compile.
    """
    prepare_environment()
    from jax._src.lib import xla_client

    specs = _specs(args)
    python_function = getattr(function, "python_function", function)

    # TensorFlow takes an argument left at its default for one more tensor.
    def call(*tensors):
        return python_function(*tensors)

    start = time.perf_counter()
    compiled = tf.function(call, jit_compile=True)
    # Asked for a platform by name, TensorFlow refuses variables. The HLO of
    # the CPU device is the same: no platform has left its mark on it yet.
    try:
        with tf.device("/cpu:0"):
            concrete = compiled.get_concrete_function(*specs)
            serialized = compiled.experimental_get_compiler_ir(*specs)(
                stage="hlo_serialized"
            )
    except (tf.errors.OpError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"XLA cannot lower the function: {reason}") from error
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(
        xla_client.XlaComputation(serialized)
    )
    if isinstance(text, bytes):
        text = text.decode()
    return Lowered(
        _MHLO_COPY.sub(_BARRIER, text),
        specs,
        list(concrete.captured_inputs),
        time.perf_counter() - start,
    )


def _devices(target):
    """The devices of the topology, described, not present."""
    prepare_environment()
    try:
        from jax.experimental import topologies as jax_topologies

        description = jax_topologies.get_topology_desc(
            platform="tpu",
            topology_name=target.compiler_name,
            chip_config_name=target.chip.compiler_config,
        )
    except (RuntimeError, ImportError) as error:
        raise OSError(
            f"libtpu does not answer for {target.name}: {error}. "
            "Install it with: pip install -e '.[aot]'"
        ) from error
    return description.devices


def _compile_module(text, devices, target):
    """The executable that each of the devices runs."""
    from jax._src import compiler
    from jax._src.interpreters import mlir as jax_mlir
    from jax._src.lib import xla_client
    from jaxlib.mlir import ir

    options = compiler.get_compile_options(
        num_replicas=len(devices),
        num_partitions=1,
        device_assignment=np.array([[device.id] for device in devices]),
    )
    with jax_mlir.make_ir_context():
        module = ir.Module.parse(text)
        try:
            return devices[0].client.compile(
                module, xla_client.DeviceList(tuple(devices)), options
            )
        except RuntimeError as error:
            raise _refusal(str(error), target) from error


def _refusal(message, target):
    """What the compiler said, as one line."""
    found = _TOO_MUCH.search(message)
    if found is None:
        reason = " ".join(message.split())
        return ValueError(
            f"the TPU compiler refuses the function for {target.name}: "
            f"{reason[:500]}"
        )
    needed, unit, available, available_unit = filter(_is_given, found.groups())
    needed = round(float(needed) * _UNITS[unit])
    available = round(float(available) * _UNITS[available_unit])
    return DoesNotFitError(
        f"the program does not fit a chip of {target.name}: it needs "
        f"{needed / 2**30:.2f} GiB of the {available / 2**30:.2f} GiB that "
        f"programs have there, {(needed - available) / 2**30:.2f} GiB too much",
        needed,
        available,
    )


def _is_given(group):
    return group is not None


@functools.cache
def _cpu_client():
    from jax._src.lib import xla_client

    # JAX's own would look for a TPU first.
    return xla_client.make_cpu_client()


def _cost_of_text(text):
    """Arithmetic and traffic of an HLO module, by XLA's own count."""
    from jax._src.lib import xla_client
    from jaxlib import _hlo

    cost = xla_client._xla.hlo_module_cost_analysis(
        _cpu_client(), _hlo.hlo_module_from_text(text)
    )
    return cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)
