"""TensorFlow Serving's JSON, read strictly and written exactly."""

import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from tensorflow.core.framework import types_pb2

from tasks.serving import errors
from tasks.serving.fronts.rest import tensor_json

FLOAT, INT32, STRING = (
    types_pb2.DT_FLOAT,
    types_pb2.DT_INT32,
    types_pb2.DT_STRING,
)


def _decode(content):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    return tensor_json.decode_request(content)


def test_rows_become_columns():
    request = _decode(
        {
            "signature_name": "base",
            "instances": [
                {"audio": [1, 2], "length": 1},
                {"audio": [3, 4], "length": 2},
            ],
        }
    )
    assert request.signature_name == "base" and request.is_row_format
    assert request.inputs == {"audio": [[1, 2], [3, 4]], "length": [1, 2]}


def test_columns_stay_columns():
    request = _decode({"inputs": {"audio": [[1]], "submodel_id": "anna"}})
    assert not request.is_row_format
    assert request.inputs == {"audio": [[1]], "submodel_id": "anna"}


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("value", [[[1, 2]], [{"b64": "YQ=="}]])
def test_a_single_tensor_needs_no_name(key, value):
    assert _decode({key: value}).inputs == {None: value}


def test_other_keys_are_left_alone_as_tensorflow_serving_does():
    assert _decode({"parameters": {}, "inputs": [1]}).inputs == {None: [1]}


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "JSON parse error"),
        (b"{", "JSON parse error"),
        (b"\xff", "UTF-8"),
        ('{"inputs": 1}'.encode("utf-16"), "UTF-8|parse"),
        (b"[1]", "must be a JSON object"),
        (b"{}", "needs 'instances' or 'inputs'"),
        (b'{"inputs": [1], "instances": [1]}', "one of them"),
        (b'{"inputs": [1], "inputs": [2]}', "repeated key"),
        (b'{"inputs": {"a": 1, "a": 2}}', "repeated key"),
        (b'{"inputs": [NaN]}', "NaN is not a JSON number"),
        (b'{"inputs": [-Infinity]}', "-Infinity is not"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", "too many digits"),
        (b'{"inputs": ' + b"[" * 90_000, "nested too deeply|parse error"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b'{"inputs": [' + b"[]," * 100_000, "at most 100000 brackets"),
        (b'{"inputs": [' + b'"a",' * 100_001, "at most 100000 commas besides"),
        (b'{"inputs": [1], "signature_name": 1}', "must be a string"),
        (b'{"instances": {}}', "must be a list"),
        (b'{"instances": []}', "not empty"),
        (b'{"instances": [{"a": 1}, [2]]}', "all be objects"),
        (b'{"instances": [{"a": 1}, {"b": 1}]}', "instance 1.*{a}.*{b}"),
        (b'{"instances": [{"a": 1}, {"a": 1, "b": 1}]}', "instance 1"),
    ],
)
def test_a_wrong_request_is_refused(body, message):
    with pytest.raises(errors.ServingError, match=message) as caught:
        _decode(body)
    assert caught.value.code is errors.Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "value, dtype, shape",
    [
        (1, FLOAT, ()),
        ([], FLOAT, (0,)),
        ([1, 0.5], FLOAT, (2,)),
        ([[1], [2]], FLOAT, (2, 1)),
        ([[], []], FLOAT, (2, 0)),
        ([3, -4], INT32, (2,)),
        ("anna", STRING, ()),
        (["anna", {"b64": "YW5uYQ=="}], STRING, (2,)),
    ],
)
def test_values_become_arrays(value, dtype, shape):
    array = tensor_json.to_array(value, "x", dtype)
    assert array.shape == shape
    if dtype == STRING:
        assert set(array.ravel()) == {b"anna"}
    else:
        assert array.tolist() == value


@pytest.mark.parametrize(
    "value, dtype, message",
    [
        ("1", FLOAT, "must hold numbers. Received: '1'"),
        ([True], FLOAT, "Received: True"),
        ([None], FLOAT, "Received: None"),
        ([{}], FLOAT, "Received: a JSON object"),
        ([1e39], FLOAT, "does not fit float32"),
        ([float("inf")], FLOAT, "does not fit"),
        ([10**400], FLOAT, "does not fit"),
        ([1.0], INT32, "must hold integers of 32 bits. Received: 1.0"),
        ([1 << 31], INT32, "does not fit int32"),
        ([10**400], INT32, "does not fit int32"),
        ([[1], 2], FLOAT, "mixes lists"),
        ([[1], [2, 3]], FLOAT, "same length.*from 1 to 2"),
        ([[[1]]], FLOAT, "at most 2 dimensions"),
        ([1], STRING, "must hold strings"),
        ([{"b64": "?"}], STRING, "not base64"),
        ([{"b64": "YQ"}], STRING, "not base64"),
        ([{"b64": "é"}], STRING, "not base64"),
        ([{"b64": 1}], STRING, "must hold strings"),
        ([{"b64": "", "x": 1}], STRING, "must hold strings"),
        (["\ud800"], STRING, "not Unicode"),
    ],
)
def test_a_wrong_value_is_refused_with_the_inputs_name(value, dtype, message):
    with pytest.raises(errors.ServingError, match=message) as caught:
        tensor_json.to_array(value, "x", dtype)
    assert "'x'" in caught.value.message


def test_answers_mirror_the_request():
    outputs = {
        "text": np.array([b"one", b"tw\xc3\xb6"], object),
        "score": np.array([-0.1, 2], np.float32),
        "raw_bytes": np.array([b"\xff", b""], object),
    }
    assert tensor_json.response(outputs, True) == {
        "predictions": [
            {"text": "one", "score": -0.1, "raw_bytes": {"b64": "/w=="}},
            {"text": "twö", "score": 2.0, "raw_bytes": {"b64": ""}},
        ]
    }
    assert tensor_json.response(outputs, False) == {
        "outputs": {
            "text": ["one", "twö"],
            "score": [-0.1, 2.0],
            "raw_bytes": [{"b64": "/w=="}, {"b64": ""}],
        }
    }


@pytest.mark.parametrize("shape", [(2,), (2, 2), (2, 0)])
def test_a_single_output_drops_its_name(shape):
    array = np.zeros(shape, np.int32)
    row = tensor_json.response({"x": array}, True)
    column = tensor_json.response({"x": array}, False)
    assert row == {"predictions": array.tolist()}
    assert column == {"outputs": array.tolist()}


def test_text_that_is_not_unicode_is_still_json():
    outputs = {"text": np.array([b"a\xff"], object)}
    assert tensor_json.response(outputs, False) == {"outputs": ["a�"]}


def test_long_lists_come_as_arrays_alone_and_as_rows():
    values = [0.5, 1, -2e-3] * 20_000
    expected = np.array(values, np.float32)
    for content, shape in (
        (values, (60_000,)),
        ([values], (1, 60_000)),
        ([values, values], (2, 60_000)),
    ):
        request = _decode({"inputs": content})
        array = tensor_json.to_array(request.inputs[None], "x", FLOAT)
        assert array.shape == shape
        np.testing.assert_array_equal(
            array.ravel(), np.tile(expected, array.size // 60_000)
        )
    rows = [{"audio": values}, {"audio": values}]
    request = _decode({"instances": rows})
    assert tensor_json.to_array(request.inputs["audio"], "x", FLOAT).shape == (
        2,
        60_000,
    )


LONG = [1.5] * 300


@pytest.mark.parametrize(
    "value, message",
    [
        ([LONG, LONG[:-1]], "same length.*from 299 to 300"),
        ([LONG, [1]], "same length.*from 1 to 300"),
        ([LONG, 1], "mixes lists"),
        ([[LONG]], "must hold numbers|at most 2 dimensions"),
        ([LONG, [LONG] * 300], "at most 2 dimensions|must hold numbers"),
        ([[1, 2], [LONG, 2]], "must hold numbers|mixes"),
    ],
)
def test_long_rows_that_do_not_fit_are_refused(value, message):
    with pytest.raises(errors.ServingError, match=message):
        request = _decode({"inputs": value})
        tensor_json.to_array(request.inputs[None], "x", FLOAT)


def test_a_long_list_serves_no_string_or_integer_input():
    request = _decode({"inputs": [1] * 1000})
    for dtype in (INT32, STRING):
        with pytest.raises(errors.ServingError, match="a long list"):
            tensor_json.to_array(request.inputs[None], "x", dtype)


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(
            strategies.sampled_from(["audio", "length", "b64", "inputs"])
            | strategies.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis.settings(max_examples=200)
@hypothesis.given(
    strategies.binary(max_size=60)
    | JSON.map(lambda value: json.dumps({"inputs": value}).encode())
    | JSON.map(lambda value: json.dumps({"instances": [value]}).encode())
    | JSON.map(lambda value: json.dumps(value).encode()[:-1])
)
def test_any_body_gives_arrays_or_the_one_error(body):
    try:
        request = tensor_json.decode_request(body)
    except errors.ServingError as error:
        assert error.code is errors.Code.INVALID_ARGUMENT
        return
    for value in request.inputs.values():
        for dtype in (FLOAT, INT32, STRING):
            try:
                array = tensor_json.to_array(value, "x", dtype)
            except errors.ServingError as error:
                assert error.code is errors.Code.INVALID_ARGUMENT
                assert len(error.message.encode()) <= errors.MAX_MESSAGE_BYTES
            else:
                assert array.ndim <= tensor_json.MAX_RANK
