"""TensorProto to NumPy and back; nothing that a client sends is trusted.

Pure functions of untrusted bytes: they give an array or raise
`errors.ServingError` with INVALID_ARGUMENT, and never take more memory than
the message's own size and `max_bytes`.
"""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

import math
from collections import abc

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from tasks.serving import errors

MAX_RANK = 8
# The field that holds a dtype's values, and NumPy's dtype.
_FIELDS = {
    types_pb2.DT_FLOAT: ("float_val", np.dtype("<f4")),
    types_pb2.DT_DOUBLE: ("double_val", np.dtype("<f8")),
    types_pb2.DT_INT32: ("int_val", np.dtype("<i4")),
    types_pb2.DT_INT64: ("int64_val", np.dtype("<i8")),
    types_pb2.DT_BOOL: ("bool_val", np.dtype("?")),
    types_pb2.DT_STRING: ("string_val", np.dtype(object)),
}
_DTYPES = {dtype: enum for enum, (_, dtype) in _FIELDS.items()}
_NOT_VALUES = {"dtype", "tensor_shape", "version_number"}


def to_array(
    proto: tensor_pb2.TensorProto, name: str, dtype: int, max_bytes: int
) -> np.ndarray:
    """The array in a TensorProto.

    As in TensorFlow, a single value fills the whole shape. Unlike there, too
    few values are an error: the last one is not repeated.

    Args:
        name: str, of the input, for messages.
        dtype: the required `types_pb2.DataType`.
        max_bytes: int, for the array; strings count 8 bytes each.

    Returns:
        A read-only array; strings are bytes in an array of objects.

    Raises:
        errors.ServingError: INVALID_ARGUMENT, names the input and the fault in
            its dtype, shape, size or number of values.
    """
    if proto.dtype != dtype:
        raise errors.invalid_argument(
            f"input {name!r} must be {types_pb2.DataType.Name(dtype)}. "
            f"Received: {_dtype_name(proto.dtype)}."
        )
    field, numpy_dtype = _FIELDS[dtype]
    shape = _shape(proto.tensor_shape, name)
    count = math.prod(shape)
    # Zeros are left out: NumPy refuses even the empty [2^62, 2^62, 0].
    room = math.prod(filter(None, shape)) * numpy_dtype.itemsize
    if room > max_bytes:
        raise errors.invalid_argument(
            f"input {name!r} of shape {_show(shape)} is larger than the "
            f"{max_bytes} bytes that a request may have"
        )
    filled = {each.name for each, _ in proto.ListFields()} - _NOT_VALUES
    if len(filled) > 1 or filled - {field, "tensor_content"}:
        raise errors.invalid_argument(
            f"input {name!r} must have its values in `{field}` or in "
            f"`tensor_content`. Received: {sorted(filled)}."
        )
    if "tensor_content" in filled:
        return _from_content(proto, name, numpy_dtype, shape, count)
    return _from_values(getattr(proto, field), name, numpy_dtype, shape, count)


def to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """A TensorProto with its values in the field of its dtype.

    TensorFlow Serving answers with that field, and clients without TensorFlow
    read it; neither uses `tensor_content`.

    Raises:
        ValueError: no field here holds the dtype.
    """
    array = np.asarray(array)
    try:
        enum = _DTYPES[array.dtype.newbyteorder("<")]
    except KeyError:
        raise ValueError(f"no tensor holds {array.dtype}") from None
    proto = tensor_pb2.TensorProto(dtype=enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS[enum][0]).extend(array.ravel().tolist())
    return proto


def show(value: object) -> str:
    """A client's value for a message, shortened."""
    # Shortening the text would first write out a whole long list.
    if isinstance(value, list | np.ndarray):
        return "a list"
    if isinstance(value, dict):
        return "a JSON object"
    text = repr(value[:64] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def show_names(names: abc.Iterable[str]) -> str:
    """Input names for a message, shortened."""
    names = sorted(names)
    text = ",".join(name[:64] for name in names[:16])
    return f"{{{text}{',...' if len(names) > 16 else ''}}}"


def _shape(shape, name):
    if shape.unknown_rank:
        raise errors.invalid_argument(f"input {name!r} must have a known rank")
    if len(shape.dim) > MAX_RANK:
        raise errors.invalid_argument(
            f"input {name!r} must have at most {MAX_RANK} dimensions. "
            f"Received: {len(shape.dim)}."
        )
    sizes = tuple(dim.size for dim in shape.dim)
    if any(size < 0 for size in sizes):
        raise errors.invalid_argument(
            f"input {name!r} must have no negative dimension. Received: "
            f"{_show(sizes)}."
        )
    return sizes


def _from_content(proto, name, dtype, shape, count):
    if dtype.hasobject:
        raise errors.invalid_argument(
            f"input {name!r} must have its strings in `string_val`, not in "
            "`tensor_content`"
        )
    if len(proto.tensor_content) != count * dtype.itemsize:
        raise errors.invalid_argument(
            f"input {name!r} of shape {_show(shape)} needs "
            f"{count * dtype.itemsize} bytes of `tensor_content`. Received: "
            f"{len(proto.tensor_content)}."
        )
    if dtype.kind == "b":
        # A bool may hold nothing but 0 and 1.
        values = np.frombuffer(proto.tensor_content, np.uint8) != 0
    else:
        values = np.frombuffer(proto.tensor_content, dtype)
    return _read_only(values.reshape(shape))


def _from_values(values, name, dtype, shape, count):
    if len(values) not in (1, count) or (len(values) == 1 and count == 0):
        raise errors.invalid_argument(
            f"input {name!r} of shape {_show(shape)} needs {count} values, or "
            f"one for all. Received: {len(values)}."
        )
    if dtype.hasobject:
        array = np.empty(len(values), object)
        array[:] = list(values)
    else:
        array = np.array(values, dtype)
    if len(values) != count:
        # A view, since a message of a few bytes must not take megabytes.
        return np.broadcast_to(array.reshape(()), shape)
    return _read_only(array.reshape(shape))


def _read_only(array):
    array.flags.writeable = False
    return array


def _dtype_name(number: int) -> str:
    try:
        return types_pb2.DataType.Name(number)
    except ValueError:
        return f"DataType {number}"


def _show(shape: abc.Iterable[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
