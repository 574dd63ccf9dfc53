"""TensorFlow Serving's JSON: row and columnar requests and responses.

Pure functions of untrusted bytes: they give arrays or raise
`errors.ServingError` with INVALID_ARGUMENT. They are stricter than TensorFlow
Serving where its leniency hides a mistake: repeated keys, NaN, infinite
numbers, and booleans or strings in place of numbers are refused.
"""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

import base64
import dataclasses
import json
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from tasks.serving import errors
from tasks.serving.fronts import tensors
from tasks.serving.fronts.rest import json_numbers

MAX_RANK = 2
_MIXED = "mixes lists with values"
_TOO_DEEP = f"must have at most {MAX_RANK} dimensions"
_NUMBERS = {
    types_pb2.DT_FLOAT: (np.float32, {int, float}, "numbers"),
    types_pb2.DT_INT32: (np.int32, {int}, "integers of 32 bits"),
    types_pb2.DT_INT64: (np.int64, {int}, "integers of 64 bits"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class PredictRequest:
    """A decoded body.

    Attributes:
        signature_name: empty for the default one.
        is_row_format: whether the body has `instances`; the response takes the
            same form.
        inputs: values as `parse` gives them, by name; the key None stands for
            a tensor without a name.
    """

    signature_name: str
    is_row_format: bool
    inputs: dict[str | None, Any]


def decode_request(body: bytes) -> PredictRequest:
    """A predict request's body as plain values."""
    content = parse(body)
    if not isinstance(content, dict):
        raise errors.invalid_argument("the request must be a JSON object")
    signature_name = content.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise errors.invalid_argument("'signature_name' must be a string")
    given = [key for key in ("instances", "inputs") if key in content]
    if len(given) != 1:
        raise errors.invalid_argument(
            "the request needs 'instances' or 'inputs', one of them"
        )
    if given == ["inputs"]:
        inputs: Any = content["inputs"]
        if not isinstance(inputs, dict) or set(inputs) == {"b64"}:
            inputs = {None: inputs}
        return PredictRequest(signature_name, False, inputs)
    return PredictRequest(signature_name, True, _columns(content["instances"]))


def parse(body: bytes) -> Any:
    """Strict JSON of any shape; long lists of numbers become float32 arrays."""
    numbers = json_numbers.Numbers()
    body = numbers.cut(body)

    def from_pairs(pairs: list[tuple[str, Any]]) -> Any:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise errors.invalid_argument(
                "the JSON has an object with a repeated key"
            )
        return numbers.restore(result)

    try:
        return json.loads(
            body.decode("utf-8"),
            parse_constant=json_numbers.refuse_constant,
            object_pairs_hook=from_pairs,
        )
    except RecursionError:
        raise errors.invalid_argument("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise errors.invalid_argument("the JSON must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise errors.invalid_argument(f"JSON parse error: {error}") from None
    except ValueError:
        # Python converts no integers of more than some thousand digits.
        raise errors.invalid_argument("a number has too many digits") from None


def to_array(value: Any, name: str, dtype: int) -> np.ndarray:
    """A plain JSON value as an array of rank 0, 1 or 2.

    Args:
        value: what `parse` gave.
        name: of the input, for messages.
        dtype: `types_pb2.DataType`: DT_FLOAT, DT_INT32, DT_INT64, DT_STRING.

    Returns:
        Array; strings are bytes in an array of objects.
    """
    if _has_arrays(value):
        return _stack(value, name, dtype)
    rows, shape = _rows(value, name)
    flat = [each for row in rows for each in row]
    if dtype == types_pb2.DT_STRING:
        array = np.empty(len(flat), object)
        array[:] = [_to_bytes(each, name) for each in flat]
        return array.reshape(shape)
    numpy_dtype, types, wanted = _NUMBERS[dtype]
    # NumPy would read true as 1, "1" as 1 and null as NaN.
    if not set(map(type, flat)) <= types:
        wrong = next(each for each in flat if type(each) not in types)
        raise tensors.wrong_input(
            name, f"must hold {wanted}. Received: {tensors.show(wrong)}."
        )
    array = json_numbers.to_array(flat, numpy_dtype)
    if array is None:
        raise tensors.wrong_input(
            name,
            f"has a number that does not fit {np.dtype(numpy_dtype).name}",
        )
    return array.reshape(shape)


def response(outputs: dict[str, np.ndarray], is_row_format: bool) -> dict:
    """A predict response, to be written as JSON.

    A single output drops its name; outputs called `*_bytes` come as
    `{"b64": ...}`, other strings as text.

    Args:
        outputs: by name, all with the same dimension 0.
        is_row_format: whether to give `predictions` and not `outputs`.
    """
    plain = {name: _to_plain(name, each) for name, each in outputs.items()}
    only = next(iter(plain.values())) if len(plain) == 1 else None
    if not is_row_format:
        return {"outputs": plain if only is None else only}
    if only is not None:
        return {"predictions": only}
    rows = zip(*plain.values(), strict=True)
    return {"predictions": [dict(zip(plain, row, strict=True)) for row in rows]}


def _columns(instances: Any) -> dict[str | None, Any]:
    """Row format as columns, a list for each input."""
    if not isinstance(instances, list) or not instances:
        raise errors.invalid_argument(
            "'instances' must be a list that is not empty"
        )
    num_named = sum(map(_is_named, instances))
    if not num_named:
        return {None: instances}
    if num_named < len(instances):
        raise errors.invalid_argument(
            "'instances' must all be objects of named inputs, or none"
        )
    names = list(instances[0])
    for place, instance in enumerate(instances):
        if set(instance) != set(names):
            raise errors.invalid_argument(
                f"instance {place} must have the same inputs as the first "
                f"one: {tensors.show_names(names)}. Received: "
                f"{tensors.show_names(instance)}."
            )
    return {name: [each[name] for each in instances] for name in names}


def _is_named(instance):
    return isinstance(instance, dict) and set(instance) != {"b64"}


def _rows(value, name):
    """The value as a list of lists, and its shape."""
    if not isinstance(value, list):
        return [[value]], ()
    if not any(isinstance(each, list) for each in value):
        return [value], (len(value),)
    if not all(isinstance(each, list) for each in value):
        raise tensors.wrong_input(name, _MIXED)
    _check_lengths(value, name)
    if any(isinstance(each, list) for row in value for each in row):
        raise tensors.wrong_input(name, _TOO_DEEP)
    return value, (len(value), len(value[0]))


def _has_arrays(value):
    return isinstance(value, np.ndarray) or (
        isinstance(value, list)
        and any(isinstance(each, np.ndarray) for each in value)
    )


def _stack(value, name, dtype):
    """As `to_array`, of a long list or of rows that are long lists."""
    if dtype != types_pb2.DT_FLOAT:
        raise tensors.wrong_input(name, "must not be a long list of numbers")
    if isinstance(value, np.ndarray):
        return value
    if not all(isinstance(each, list | np.ndarray) for each in value):
        raise tensors.wrong_input(name, _MIXED)
    _check_lengths(value, name)
    rows = [to_array(each, name, dtype) for each in value]
    if any(row.ndim != 1 for row in rows):
        raise tensors.wrong_input(name, _TOO_DEEP)
    return np.stack(rows)


def _check_lengths(rows, name):
    lengths = {len(each) for each in rows}
    if len(lengths) > 1:
        raise tensors.wrong_input(
            name,
            "must have rows of the same length; pad them and say how long they "
            f"are in 'length'. Received: from {min(lengths)} to {max(lengths)} "
            "values.",
        )


def _to_bytes(value, name):
    try:
        if isinstance(value, str):
            return value.encode("utf-8")
        if isinstance(value, dict) and set(value) == {"b64"}:
            if isinstance(value["b64"], str):
                return base64.b64decode(value["b64"], validate=True)
    except UnicodeEncodeError:
        raise tensors.wrong_input(
            name, "has a string that is not Unicode"
        ) from None
    except ValueError:
        raise tensors.wrong_input(
            name,
            "has a 'b64' that is not base64, in the standard alphabet and "
            "without line breaks (`base64 -w 0`)",
        ) from None
    received = tensors.show(value)
    raise tensors.wrong_input(
        name, f'must hold strings or {{"b64": ...}}. Received: {received}.'
    )


def _to_plain(name, array):
    if array.dtype == object:
        to_plain = _to_b64 if name.endswith("_bytes") else _to_text
        flat = [to_plain(each) for each in array.ravel()]
    elif array.dtype == np.float32:
        # The shortest decimal that reads back as this float32.
        flat = [float(str(each)) for each in array.ravel()]
    else:
        flat = array.ravel().tolist()
    plain = np.empty(len(flat), object)
    plain[:] = flat
    return plain.reshape(array.shape).tolist()


def _to_b64(value):
    return {"b64": base64.b64encode(value).decode()}


def _to_text(value):
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
