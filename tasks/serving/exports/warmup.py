"""Warm-up requests, which a server runs before it calls itself ready.

The file is that of TensorFlow Serving: a TFRecord of `PredictionLog`s.
"""

import os
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.serving.exports import description as export_description

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MAX_BUCKETS = 6


def write(
    folder: str | os.PathLike[str],
    model_name: str,
    description: export_description.Description,
    signatures: abc.Iterable[str],
) -> None:
    """Writes the requests of an export into its local folder.

    Each signature gets one utterance for each of some buckets, from the
    shortest to the longest. The base alone, which is a part of the others,
    gets one of the shortest.

    Args:
        model_name: written into the requests; a server uses its own name.
        signatures: names of those to warm up.
    """
    prediction_log_pb2 = _protocol()
    path = os.path.join(folder, FILE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path) as writer:
        for name in signatures:
            limits = _spread(description.bucket_limits)
            for limit in limits[:1] if name == "base" else limits:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = model_name
                request.model_spec.signature_name = name
                for key, proto in _inputs(name, limit, description).items():
                    request.inputs[key].CopyFrom(proto)
                writer.write(log.SerializeToString())


def read(
    folder: str | os.PathLike[str],
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The requests of an export; none if it has no such file.

    Returns:
        pairs of a signature's name and its inputs by name.

    Raises:
        ValueError: the file is damaged.
    """
    path = os.path.join(folder, FILE)
    if not tf.io.gfile.exists(path):
        return []
    prediction_log_pb2 = _protocol()
    requests = []
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            inputs = {
                name: tf.make_ndarray(proto)
                for name, proto in request.inputs.items()
            }
            requests.append((request.model_spec.signature_name, inputs))
    except Exception as error:
        raise ValueError(f"{path}: damaged: {error}") from error
    return requests


def check_installed() -> None:
    """Raises a ValueError unless requests can be written and read."""
    _protocol()


def _protocol() -> Any:
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ValueError(
            "warm-up requests take TensorFlow Serving's protocol, an optional "
            "package; install it with: pip install -e '.[serve]'"
        ) from error
    return prediction_log_pb2


def _spread(limits: tuple[int, ...]) -> tuple[int, ...]:
    """At most `MAX_BUCKETS` of the limits, with the first and the last."""
    if len(limits) <= MAX_BUCKETS:
        return limits
    places = np.linspace(0, len(limits) - 1, MAX_BUCKETS).round().astype(int)
    return tuple(limits[place] for place in places)


def _inputs(
    name: str, num_samples: int, description: export_description.Description
) -> dict[str, Any]:
    """One click as an utterance of a signature, with the base's Submodel.

    Nothing would be recognised in silence.
    """
    row = [1, description.num_values]
    inputs = {
        "audio": _zeros([1, num_samples], first=0.1),
        "length": tf.make_tensor_proto([num_samples], tf.int32),
    }
    if len(description.languages) > 1:
        inputs["language_index"] = tf.make_tensor_proto([0], tf.int32)
    if name == "grouped":
        inputs["submodels"] = _zeros(row)
        inputs["index"] = tf.make_tensor_proto([0], tf.int32)
    elif name == "serving_default" and not description.submodel:
        inputs["submodel"] = _zeros(row)
    return inputs


def _zeros(shape: list[int], first: float = 0.0) -> Any:
    # The last value stands for all that follow, so a request is small however
    # long its audio.
    proto = tf.make_tensor_proto(0.0, tf.float32, shape)
    if first:
        proto.float_val[:] = [first, 0.0]
    return proto
