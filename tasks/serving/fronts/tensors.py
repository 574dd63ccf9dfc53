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
        name: of the input, for messages.
        dtype: the required `types_pb2.DataType`.
        max_bytes: for the array; strings count 8 bytes each.

    Returns:
        A read-only array; strings are bytes in an array of objects.
    """
    if proto.dtype != dtype:
        received = f"DataType {proto.dtype}"
        if proto.dtype in types_pb2.DataType.values():
            received = types_pb2.DataType.Name(proto.dtype)
        wanted = types_pb2.DataType.Name(dtype)
        raise wrong_input(name, f"must be {wanted}. Received: {received}.")
    field, numpy_dtype = _FIELDS[dtype]
    shape = _shape(proto.tensor_shape, name)
    # Zeros are left out: NumPy refuses even the empty [2^62, 2^62, 0].
    room = math.prod(filter(None, shape)) * numpy_dtype.itemsize
    if room > max_bytes:
        raise wrong_input(
            name,
            f"of shape {_show(shape)} is larger than the {max_bytes} bytes "
            "that a request may have",
        )
    filled = {each.name for each, _ in proto.ListFields()} - _NOT_VALUES
    if len(filled) > 1 or filled - {field, "tensor_content"}:
        raise wrong_input(
            name,
            f"must have its values in `{field}` or in `tensor_content`. "
            f"Received: {sorted(filled)}.",
        )
    if "tensor_content" in filled:
        array = _from_content(proto.tensor_content, name, numpy_dtype, shape)
    else:
        array = _from_values(getattr(proto, field), name, numpy_dtype, shape)
    array.flags.writeable = False
    return array


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


def wrong_input(name: str, what: str) -> errors.ServingError:
    """The error for an input that a client sent."""
    return errors.invalid_argument(f"input {name!r} {what}")


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
        raise wrong_input(name, "must have a known rank")
    if len(shape.dim) > MAX_RANK:
        raise wrong_input(
            name,
            f"must have at most {MAX_RANK} dimensions. Received: "
            f"{len(shape.dim)}.",
        )
    sizes = tuple(dim.size for dim in shape.dim)
    if any(size < 0 for size in sizes):
        raise wrong_input(
            name,
            f"must have no negative dimension. Received: {_show(sizes)}.",
        )
    return sizes


def _from_content(content, name, dtype, shape):
    if dtype.hasobject:
        raise wrong_input(
            name, "must have its strings in `string_val`, not `tensor_content`"
        )
    num_bytes = math.prod(shape) * dtype.itemsize
    if len(content) != num_bytes:
        raise wrong_input(
            name,
            f"of shape {_show(shape)} needs {num_bytes} bytes of "
            f"`tensor_content`. Received: {len(content)}.",
        )
    if dtype.kind == "b":
        # A bool may hold nothing but 0 and 1.
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)


def _from_values(values, name, dtype, shape):
    count = math.prod(shape)
    if len(values) not in (1, count) or (len(values) == 1 and count == 0):
        raise wrong_input(
            name,
            f"of shape {_show(shape)} needs {count} values, or one for all. "
            f"Received: {len(values)}.",
        )
    array = np.array(list(values), dtype)
    if len(values) != count:
        # A view, since a message of a few bytes must not take megabytes.
        return np.broadcast_to(array.reshape(()), shape)
    return array.reshape(shape)


def _show(shape: abc.Iterable[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
