"""The signatures of a model as this server answers them.

They are those of an export, and more: a request may name a Submodel by its id
and a language by its code, state its sample rate, and send recordings in place
of samples.
"""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

import dataclasses
from collections import abc
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tasks.serving import errors
from tasks.serving.fronts import tensors

DEFAULT_SIGNATURE = "serving_default"
# The input that a request may send unnamed.
SOLE_INPUT = "audio"
# The `types_pb2.DataType` of recordings.
RECORDING = types_pb2.DT_STRING


@dataclasses.dataclass(frozen=True)
class Input:
    """The requirements on an input.

    Attributes:
        dtype: a `types_pb2.DataType`.
        ranks: the numbers of dimensions that it may have.
        may_be_recordings: whether it may be strings instead, the bytes of a
            recording's file for each utterance.
    """

    dtype: int
    ranks: tuple[int, ...]
    is_required: bool = False
    may_be_recordings: bool = False


_AUDIO = {
    "audio": Input(types_pb2.DT_FLOAT, (2,), True, may_be_recordings=True),
    "length": Input(types_pb2.DT_INT32, (1,)),
    "sample_rate": Input(types_pb2.DT_INT32, (0, 1)),
    "language": Input(types_pb2.DT_STRING, (0, 1)),
}
SIGNATURES = {
    DEFAULT_SIGNATURE: _AUDIO
    | {
        "submodel_id": Input(types_pb2.DT_STRING, (0, 1)),
        "submodel": Input(types_pb2.DT_FLOAT, (2,)),
    },
    "base": _AUDIO,
    "grouped": _AUDIO
    | {
        "submodels": Input(types_pb2.DT_FLOAT, (2,), True),
        "index": Input(types_pb2.DT_INT32, (1,), True),
    },
}
OUTPUTS = ("text", "score", "status", "submodel_version", "served_by")


def inputs_of(
    signature_name: str, names: abc.Collection[str]
) -> dict[str, Input]:
    """The inputs of a signature, which a request's names must match.

    Args:
        signature_name: empty for the default one.
        names: of the inputs that the request sends.
    """
    known = SIGNATURES.get(signature_name or DEFAULT_SIGNATURE)
    if known is None:
        raise errors.failed_precondition(
            f"Serving signature key {tensors.show(signature_name)} not "
            f"found. There are: {tensors.show_names(SIGNATURES)}.",
        )
    extra = set(names) - set(known)
    missing = {
        name
        for name, each in known.items()
        if each.is_required and name not in names
    }
    if extra or missing:
        raise errors.invalid_argument(
            "the inputs do not match the signature. Sent extra: "
            f"{tensors.show_names(extra)}. Missing but required: "
            f"{tensors.show_names(missing)}. It takes: "
            f"{tensors.show_names(known)}."
        )
    return known


def describe(
    signatures: abc.Mapping[str, meta_graph_pb2.SignatureDef],
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """An export's signatures as this server answers them.

    A Submodel may be named by its id in place of its weights and a language by
    its code in place of its index, the response names the Submodel that
    answered, and a request may state its sample rate.
    """
    described = {}
    for name in SIGNATURES:
        if name not in signatures:
            continue
        signature = meta_graph_pb2.SignatureDef()
        signature.CopyFrom(signatures[name])
        _add_vector(signature.inputs, "sample_rate", types_pb2.DT_INT32)
        if "language_index" in signature.inputs:
            del signature.inputs["language_index"]
            _add_vector(signature.inputs, "language", types_pb2.DT_STRING)
        if "submodel" in signature.inputs:
            _add_vector(signature.inputs, "submodel_id", types_pb2.DT_STRING)
        for output in ("submodel_version", "served_by"):
            _add_vector(signature.outputs, output, types_pb2.DT_STRING)
        described[name] = signature
    return described


def _add_vector(infos: Any, name: str, dtype: int) -> None:
    info = infos[name]
    info.name = name
    info.dtype = dtype
    del info.tensor_shape.dim[:]
    info.tensor_shape.dim.add(size=-1)
