"""Compiles a TensorFlow function for a named TPU, on a machine without one.

TensorFlow lowers the function to HLO, and libtpu compiles that through JAX;
both come with `pip install -e '.[aot]'`. Nothing runs: the report holds what
the compiler knows of the program of one chip, its memory and its arithmetic.

The names of JAX used here are private, so setup.cfg pins its version.
"""

# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import dataclasses
import functools
import importlib.metadata
import logging
import os
import re
import time
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tpu.aot import hlo, report as aot_report, topology as topologies

# The extra `aot` of setup.cfg.
VERSIONS = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.52"}

# Keeps libtpu from asking the metadata server of a TPU VM, and from writing to
# stderr. No TPU is held here, so several processes may load libtpu at once.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
}

# TensorFlow marks a variable's new value with an operation that the TPU
# compiler does not know. A barrier with one operand means the same.
_MHLO_COPY = re.compile(r"= mhlo\.copy (%[\w#]+) : (tensor<[^>]*>)")
_BARRIER = r"= stablehlo.optimization_barrier \1 : \2"

_TOO_MUCH = re.compile(
    r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"
    r"|Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class DoesNotFitError(ValueError):
    """The program needs more memory than one may use on a chip."""

    def __init__(self, message: str, needed_bytes: int, available_bytes: int):
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes

    @property
    def excess_bytes(self) -> int:
        return self.needed_bytes - self.available_bytes


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A function as XLA takes it, the same for every kind of device.

    Attributes:
        text: StableHLO.
        captures: the tensors that it reads besides them, in the order of the
            module's further parameters; for a variable, its handle.
    """

    text: str
    specs: list[tf.TensorSpec]
    captures: list[tf.Tensor]
    lower_seconds: float


def check_installed() -> None:
    """Raises an OSError unless the pinned `VERSIONS` are installed."""
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


def prepare_environment() -> None:
    """Keeps JAX and libtpu from looking for a TPU; call it before either."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("jax").setLevel(logging.WARNING)


def compile(
    function: abc.Callable,
    args: abc.Iterable,
    topology: str,
    num_replicas: int = 1,
) -> aot_report.CompileReport:
    """Compiles `function(*args)` for the chips of a topology.

    Args:
        function: a Python function or `tf.function` of tensors. It may read
            and assign variables that exist already.
        args: tensors, arrays or `tf.TensorSpec`s of static shape.
        num_replicas: how many chips run the program together. A sum over them
            is the function's own operation.

    Raises:
        DoesNotFitError: a ValueError; the chip's memory is too small.
        ValueError: the topology is unknown, a shape is not static, or XLA
            cannot compile an operation of the function for a TPU.
        OSError: JAX or libtpu is missing or has another version.
    """
    target = topologies.lookup(topology)
    specs = _specs(args)
    check_installed()
    return compile_lowered(lower(function, specs), target, num_replicas)


def compile_lowered(
    lowered: Lowered, target: topologies.Topology, num_replicas: int = 1
) -> aot_report.CompileReport:
    """Compiles what `lower` returned."""
    devices = _devices(target)[:num_replicas]
    start = time.perf_counter()
    executable = _compile_module(lowered.text, devices, target)
    seconds = time.perf_counter() - start
    memory = executable.get_compiled_memory_stats()
    cost = executable.cost_analysis()
    (compiled,) = executable.hlo_modules()
    module = hlo.Module(compiled.as_serialized_hlo_module_proto())
    more_flops, more_bytes = module.loop_excess(_cost) or (0.0, 0.0)
    return aot_report.CompileReport(
        topology=target,
        lower_seconds=lowered.lower_seconds,
        compile_seconds=seconds,
        flops=cost["flops"] + more_flops,
        bytes_accessed=cost["bytes accessed"] + more_bytes,
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        collectives=module.collectives(),
        host_operations=tuple(module.host_operations()),
        host_bytes=(
            memory.host_argument_size_in_bytes
            + memory.host_output_size_in_bytes
            + memory.host_temp_size_in_bytes
        ),
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
                f"argument {position} must have a static shape, as every TPU "
                f"program has. Received: {spec.shape}."
            )
    return specs


def lower(function: abc.Callable, args: abc.Iterable) -> Lowered:
    """Lowers `function(*args)` to StableHLO; see `compile`.

    Raises:
        ValueError: a shape is not static, or XLA cannot compile an operation.
    """
    prepare_environment()
    from jax._src.lib import xla_client

    specs = _specs(args)
    python_function = getattr(function, "python_function", function)

    # TensorFlow would make a tensor of an argument that is left at its default.
    def call(*tensors: tf.Tensor) -> Any:
        return python_function(*tensors)

    start = time.perf_counter()
    compiled = tf.function(call, jit_compile=True)
    # Given a platform's name, TensorFlow refuses variables. At this stage the
    # HLO is the same for every platform, so the CPU's will do.
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
    """JAX's descriptions of the topology's devices."""
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
            f"libtpu cannot describe {target.name}: {error}. "
            "Install it with: pip install -e '.[aot]'"
        ) from error
    return description.devices


def _compile_module(text, devices, target):
    """Compiles StableHLO to the executable that every device runs."""
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
    """The error, of one line, for a compiler's message."""
    found = _TOO_MUCH.search(message)
    if found is None:
        reason = " ".join(message.split())
        return ValueError(
            f"the TPU compiler rejects the function for {target.name}: "
            f"{reason[:500]}"
        )
    # One alternative of the pattern has matched, with four groups.
    groups = [group for group in found.groups() if group is not None]
    needed, available = (
        round(float(number) * _UNITS[unit])
        for number, unit in zip(groups[::2], groups[1::2], strict=True)
    )
    return DoesNotFitError(
        f"the program does not fit a chip of {target.name}: it needs "
        f"{needed / 2**30:.2f} GiB of the {available / 2**30:.2f} GiB that "
        f"programs have there, {(needed - available) / 2**30:.2f} GiB too much",
        needed,
        available,
    )


@functools.cache
def _cpu_client():
    from jax._src.lib import xla_client

    # JAX's own would look for a TPU first.
    return xla_client.make_cpu_client()


def _cost(serialized: bytes) -> tuple[float, float]:
    """Arithmetic and memory traffic of an HLO module, as XLA counts them."""
    from jax._src.lib import xla_client
    from jaxlib import _hlo

    module = _hlo.HloModule.from_serialized_hlo_module_proto(serialized)
    cost = xla_client._xla.hlo_module_cost_analysis(_cpu_client(), module)
    return cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)
