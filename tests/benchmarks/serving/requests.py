"""Requests of TensorFlow Serving, made ahead so that sending is cheap."""

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

MODEL = "submodels"


def predict(audio, submodel_id=None, model=MODEL):
    """A request for one utterance.

    Args:
        audio: `[samples]` float32.
        submodel_id: str, whose Submodel answers; None asks the signature
            `base`.
    """
    return predict_batch(
        [audio], None if submodel_id is None else [submodel_id], model
    )


def predict_batch(audios, submodel_ids=None, model=MODEL):
    """A request for several utterances of the same length."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    samples = np.stack(audios).astype("<f4")
    lengths = np.full(len(audios), samples.shape[1], "<i4")
    _fill(request.inputs["audio"], types_pb2.DT_FLOAT, samples)
    _fill(request.inputs["length"], types_pb2.DT_INT32, lengths)
    if submodel_ids is None:
        request.model_spec.signature_name = "base"
        return request
    names = request.inputs["submodel_id"]
    names.dtype = types_pb2.DT_STRING
    names.tensor_shape.dim.add(size=len(submodel_ids))
    names.string_val.extend(each.encode() for each in submodel_ids)
    return request


def _fill(proto, dtype, array):
    proto.dtype = dtype
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_content = array.tobytes()
