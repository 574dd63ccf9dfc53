"""Runs a lowered function on the CPU: the very HLO that a TPU would get."""

import re

import numpy as np
import tensorflow as tf

from tpu.aot import compiler

_ALIAS = re.compile(
    r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>"
)


def run(lowered, arguments):
    """Executes a `compiler.Lowered`.

    Args:
        lowered: `compiler.Lowered`.
        arguments: iterable of tensors, as its function takes them.

    Returns:
        list of the function's own results, as arrays, and a function of a
        variable that returns the value assigned to it, None if none was.
    """
    compiler.prepare_environment()
    import jax
    from jax._src import compiler as jax_compiler
    from jax._src.interpreters import mlir as jax_mlir
    from jax._src.lib import xla_client
    from jaxlib.mlir import ir

    # Copies: the program writes new values over a variable's own.
    values = [np.array(x) for x in arguments]
    values += [np.array(_value(capture)) for capture in lowered.captures]
    cpu = jax.devices("cpu")[0]
    options = jax_compiler.get_compile_options(num_replicas=1, num_partitions=1)
    with jax_mlir.make_ir_context():
        module = ir.Module.parse(lowered.text)
        executable = cpu.client.compile_and_load(
            module, xla_client.DeviceList((cpu,)), options
        )
    outputs = executable.execute_sharded(
        [jax.device_put(value, cpu) for value in values]
    ).disassemble_into_single_device_arrays()
    outputs = [np.asarray(shards[0]) for shards in outputs]
    handles = [id(capture) for capture in lowered.captures]
    first = len(lowered.specs)
    aliases = {int(p): int(o) for p, o in _ALIAS.findall(lowered.text)}
    results = [
        output
        for index, output in enumerate(outputs)
        if index not in aliases.values()
    ]

    def updated(variable):
        parameter = first + handles.index(id(variable.handle))
        index = aliases.get(parameter)
        return None if index is None else outputs[index]

    return results, updated


def _value(capture):
    if capture.dtype != tf.resource:
        return capture.numpy()
    data = capture._handle_data.shape_and_type[0]
    return tf.raw_ops.ReadVariableOp(
        resource=capture, dtype=tf.dtypes.as_dtype(data.dtype)
    ).numpy()
