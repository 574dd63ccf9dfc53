"""Functions of arbitrary bytes that may raise intended errors only.

A target either refuses its input with such an error or reads all of it.
"""

import dataclasses
import json
import time
import traceback

import numpy as np
from google.protobuf import message
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from lingvo_like.submodel import file as submodel_file_lib
from tasks.serving import errors, recordings
from tasks.serving.fronts import model_messages, tensors
from tasks.serving.fronts.rest import routes as rest_routes, tensor_json
from tasks.serving.queueing import limits
from tests import layouts

MAX_BYTES = 1 << 20
MAX_UTTERANCES = 64
LIMITS = limits.Limits(max_request_utterances=MAX_UTTERANCES)
# Taking longer for a few kilobytes would be a way to stall a server.
SLOW_SECONDS = 2.0
LAYOUT = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0, 2))
FINGERPRINT = "f" * 64
_READ_AS = (types_pb2.DT_FLOAT, types_pb2.DT_INT32, types_pb2.DT_STRING)
# No message to a client may contain these.
_TRACES = ("Traceback", 'File "', "site-packages", ".py")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A case with an outcome that is a bug."""

    target: str
    data: bytes
    what: str

    def __str__(self):
        shown = repr(self.data[:200])
        return f"{self.target}: {self.what}\n  case: {shown}"


def json_request(data):
    """A REST predict body, up to the utterances in it."""
    rows, _ = rest_routes.to_utterances(data, "", None, LIMITS)
    _check_rows(rows)


def json_base64(data):
    """A string input in JSON, with anything in `b64`."""
    text = data.decode("latin-1")
    body = json.dumps({"inputs": {"submodel_id": [{"b64": text}]}})
    request = tensor_json.decode_request(body.encode())
    array = tensor_json.to_array(
        request.inputs["submodel_id"], "submodel_id", types_pb2.DT_STRING
    )
    _require(array.shape == (1,) and isinstance(array[0], bytes), "no bytes")


def tensor_proto(data):
    """A serialised TensorProto, read as each supported dtype."""
    try:
        proto = tensor_pb2.TensorProto.FromString(data)
    except message.DecodeError:
        raise errors.invalid_argument("no TensorProto") from None
    refused = []
    for dtype in _READ_AS:
        try:
            array = tensors.to_array(proto, "audio", dtype, MAX_BYTES)
        except errors.ServingError as error:
            _check_message(error)
            refused.append(error)
            continue
        _require(array.nbytes <= MAX_BYTES, "larger than its limit")
        tensors.to_proto(array)
    if len(refused) == len(_READ_AS):
        raise refused[0]


def predict_request(data):
    """A serialised PredictRequest, up to the utterances in it."""
    try:
        request = predict_pb2.PredictRequest.FromString(data)
    except message.DecodeError:
        raise errors.invalid_argument("no PredictRequest") from None
    _check_rows(model_messages.to_utterances(request, None, LIMITS))


def recording(data):
    """A recording's file, up to its samples."""
    samples = recordings.decode(data, 16000, 16000)
    _require(
        samples.dtype == np.float32
        and samples.ndim == 1
        and 1 <= len(samples) <= 16000
        and np.all(np.isfinite(samples)),
        "not a second of samples",
    )


def submodel_file(data):
    """A Submodel's file."""
    loaded = submodel_file_lib.load(data, FINGERPRINT, LAYOUT)
    _require(
        loaded.vector.shape == (LAYOUT.num_values,)
        and np.all(np.isfinite(loaded.vector)),
        "not a whole Submodel",
    )


TARGETS = {
    function.__name__: function
    for function in (
        json_request,
        json_base64,
        tensor_proto,
        predict_request,
        recording,
        submodel_file,
    )
}


def check(name, data):
    """Runs a case: whether the target accepted it, and a `Finding` or None."""
    started = time.process_time()
    taken, what = False, None
    try:
        TARGETS[name](data)
        taken = True
    except (errors.ServingError, submodel_file_lib.SubmodelError) as error:
        what = _message_fault(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({place.name})"
    seconds = time.process_time() - started
    if what is None and seconds > SLOW_SECONDS:
        what = f"took {seconds:.1f} s"
    return taken, None if what is None else Finding(name, data, what)


def message_fault(text):
    """A fault of a message to a client, or None."""
    if len(text.encode("utf-8", "backslashreplace")) > 1024:
        return f"a message of {len(text)} characters"
    found = [trace for trace in _TRACES if trace in text]
    return f"a message with {found[0]!r}: {text}" if found else None


def _message_fault(error):
    if isinstance(error, errors.ServingError):
        if error.code.http >= 500:
            return f"refused with {error.code.name}"
        return message_fault(error.message)
    # The server truncates it; the rest must be clean too.
    return message_fault(errors.capped(error))


def _check_message(error):
    fault = _message_fault(error)
    _require(fault is None, fault)


def _check_rows(rows):
    for row in rows:
        if row.is_recording:
            _require(row.audio, "a recording of 0 bytes")
            continue
        _require(
            row.audio.ndim == 1
            and row.audio.dtype == np.float32
            and row.audio.size > 0,
            "an utterance without samples",
        )


def _require(condition, what):
    if not condition:
        raise RuntimeError(what)
