"""TensorProtos from anywhere become arrays or one clear error."""

import hypothesis
import numpy as np
import pytest
from google.protobuf import message
from hypothesis import strategies
from tensorflow.core.framework import tensor_pb2, types_pb2

from tasks.serving import errors
from tasks.serving.fronts import tensors

FLOAT, INT32, STRING = (
    types_pb2.DT_FLOAT,
    types_pb2.DT_INT32,
    types_pb2.DT_STRING,
)
MAX_BYTES = 1 << 20


def _proto(dtype=FLOAT, shape=(), **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _read(proto, dtype=None):
    return tensors.to_array(proto, "audio", dtype or proto.dtype, MAX_BYTES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
def test_tensorflows_protos_are_read_bit_for_bit(dtype, shape):
    import tensorflow as tf

    values = np.random.default_rng(1).normal(0, 9, shape).astype(dtype)
    back = _read(tf.make_tensor_proto(values))
    assert back.dtype == dtype and back.shape == shape
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, -2], np.float32),
        np.array([[1], [2]], np.int64),
        np.array([b"a", b"", b"\xff"], object),
        np.array(True),
    ],
)
def test_tensorflow_reads_our_protos(array):
    import tensorflow as tf

    proto = tensors.to_proto(array)
    assert not proto.tensor_content
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    np.testing.assert_array_equal(_read(proto), array)


def test_arrays_cannot_be_written_to():
    for proto in (
        _proto(shape=[1], tensor_content=b"\0" * 4),
        _proto(shape=[2], float_val=[1]),
    ):
        with pytest.raises(ValueError, match="read-only"):
            _read(proto)[0] = 1


def test_one_value_fills_a_shape_without_taking_its_memory():
    large = _read(_proto(shape=[64, 1024], float_val=[0.5]))
    assert large.strides == (0, 0) and large[63, 1023] == 0.5
    assert (
        _read(_proto(shape=[2, 3], float_val=[0.5])).tolist() == [[0.5] * 3] * 2
    )


@pytest.mark.parametrize(
    "proto, message",
    [
        (_proto(INT32, [1], int_val=[1]), "must be DT_FLOAT. Received: DT_INT"),
        (_proto(STRING, [1], string_val=[b"1"]), "Received: DT_STRING"),
        (_proto(999, [1]), "Received: DataType 999"),
        (_proto(shape=[-1], float_val=[1]), r"no negative.*\[-1\]"),
        (_proto(shape=[1 << 62, 1 << 62], float_val=[1]), "larger than"),
        (_proto(shape=[(1 << 63) - 1], float_val=[1]), "larger than"),
        (_proto(shape=[1 << 40, 0]), "larger than"),
        (_proto(shape=[MAX_BYTES], float_val=[1]), "larger than"),
        (_proto(shape=[1] * 9, float_val=[1]), "at most 8 dimensions"),
        (_proto(shape=[3], tensor_content=b"\0" * 11), "needs 12.*: 11"),
        (_proto(shape=[3], tensor_content=b"\0" * 16), "needs 12.*: 16"),
        (_proto(shape=[3], float_val=[1, 2]), "needs 3 values.*: 2"),
        (_proto(shape=[3], float_val=[1, 2, 3, 4]), "needs 3 values.*: 4"),
        (_proto(shape=[0], float_val=[1]), "needs 0 values.*: 1"),
        (_proto(shape=[3]), "needs 3 values.*: 0"),
        (_proto(shape=[1], int_val=[1]), "in `float_val`"),
        (
            _proto(shape=[1], float_val=[1], tensor_content=b"\0" * 4),
            "Received:.*float_val.*tensor_content",
        ),
    ],
)
def test_a_wrong_tensor_is_refused_with_the_inputs_name(proto, message):
    with pytest.raises(errors.ServingError, match=message) as caught:
        _read(proto, FLOAT)
    assert caught.value.code is errors.Code.INVALID_ARGUMENT
    assert "'audio'" in caught.value.message


def test_an_unknown_rank_is_refused():
    proto = _proto(float_val=[1])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(errors.ServingError, match="known rank"):
        _read(proto)


def test_strings_do_not_come_as_tensor_content():
    with pytest.raises(errors.ServingError, match="string_val"):
        _read(_proto(STRING, [1], tensor_content=b"x" * 8))


@hypothesis.settings(max_examples=150)
@hypothesis.given(strategies.binary(max_size=64), strategies.data())
def test_any_bytes_give_an_array_or_the_one_error(data, more):
    proto = tensor_pb2.TensorProto(
        dtype=more.draw(strategies.sampled_from([FLOAT, INT32, STRING, 0, 77])),
        tensor_content=more.draw(strategies.sampled_from([b"", data])),
        float_val=more.draw(strategies.lists(strategies.floats(width=32))),
    )
    for size in more.draw(
        strategies.lists(
            strategies.integers(-(1 << 63), (1 << 63) - 1)
            | strategies.integers(0, 4),
            max_size=10,
        )
    ):
        proto.tensor_shape.dim.add(size=size)
    try:
        array = _read(proto, FLOAT)
    except errors.ServingError as error:
        assert error.code is errors.Code.INVALID_ARGUMENT
    else:
        assert array.dtype == np.float32 and array.nbytes <= MAX_BYTES
    try:
        parsed = tensor_pb2.TensorProto.FromString(data)
        assert _read(parsed, FLOAT).dtype == np.float32
    except (errors.ServingError, message.DecodeError):
        pass
