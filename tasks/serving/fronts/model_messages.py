"""Conversion between TensorFlow Serving's messages and the server's own."""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

from collections import abc
from typing import Any

import numpy as np
from google.protobuf import json_format, message, text_format
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tasks.serving import errors, messages
from tasks.serving.fronts import signatures, tensors, utterances
from tasks.serving.queueing import limits as limits_lib

# No model has a longer name, and an error message would repeat it.
_MAX_NAME = 256


def to_spec(spec: model_pb2.ModelSpec) -> messages.ModelSpec:
    """A request's model.

    Version 0 means the newest one: OpenVINO's client sends it for none.
    """
    if not spec.name:
        raise errors.invalid_argument(
            "the request needs `model_spec` with a name"
        )
    if max(len(spec.name), len(spec.version_label)) > _MAX_NAME:
        raise errors.invalid_argument(
            f"a model's name and label have at most {_MAX_NAME} characters"
        )
    choice = spec.WhichOneof("version_choice")
    return messages.ModelSpec(
        spec.name,
        (spec.version.value or None) if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def to_utterances(
    request: predict_pb2.PredictRequest,
    user: str | None,
    limits: limits_lib.Limits,
) -> list[messages.Utterance]:
    """The utterances of a PredictRequest.

    Args:
        user: the Submodel id in the metadata, or None.
    """
    signature = request.model_spec.signature_name
    inputs = signatures.inputs_of(signature, request.inputs.keys())
    unknown = set(request.output_filter) - set(signatures.OUTPUTS)
    if unknown:
        raise errors.invalid_argument(
            "`output_filter` names unknown outputs "
            f"{tensors.show_names(unknown)}. There are: "
            f"{tensors.show_names(signatures.OUTPUTS)}."
        )
    arrays = {}
    for name, proto in request.inputs.items():
        dtype = inputs[name].dtype
        is_recording = proto.dtype == signatures.RECORDING
        if inputs[name].may_be_recordings and is_recording:
            dtype = signatures.RECORDING
        arrays[name] = tensors.to_array(
            proto, name, dtype, limits.max_request_bytes
        )
    return utterances.from_arrays(
        signature, arrays, user, limits.max_request_utterances
    )


def predict_response(
    request: predict_pb2.PredictRequest,
    version: int,
    outputs: abc.Mapping[str, np.ndarray],
) -> predict_pb2.PredictResponse:
    """The response of a model's version to a PredictRequest."""
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = (
        request.model_spec.signature_name or signatures.DEFAULT_SIGNATURE
    )
    for name in request.output_filter or outputs:
        response.outputs[name].CopyFrom(tensors.to_proto(outputs[name]))
    return response


def metadata_response(
    name: str,
    version: int,
    signatures: abc.Mapping[str, meta_graph_pb2.SignatureDef],
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The response that describes a model's signatures."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    response.metadata["signature_def"].Pack(_signature_map(signatures))
    return response


def metadata_json(
    name: str,
    version: int,
    signatures: abc.Mapping[str, meta_graph_pb2.SignatureDef],
) -> dict[str, Any]:
    """As `metadata_response`, in REST's form."""
    return {
        "model_spec": {
            "name": name,
            "signature_name": "",
            "version": str(version),
        },
        "metadata": {"signature_def": _to_json(_signature_map(signatures))},
    }


def status_response(
    versions: abc.Iterable[messages.VersionStatus],
) -> get_model_status_pb2.GetModelStatusResponse:
    """The response that tells how a model's versions are."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for each in versions:
        entry = response.model_version_status.add(
            version=each.version, state=each.state.value
        )
        # Set though it is 0, so that the message has a status.
        entry.status.error_code = errors.Code.OK.number
        if each.error is not None:
            entry.status.error_code = each.error.code.number
            entry.status.error_message = each.error.message
    return response


def status_json(
    versions: abc.Iterable[messages.VersionStatus],
) -> dict[str, Any]:
    """As `status_response`, in REST's form."""
    return _to_json(status_response(versions))


def to_configs(
    config: model_server_config_pb2.ModelServerConfig,
) -> list[messages.ModelConfig]:
    """The models in a ModelServerConfig; refuses what is not served."""
    if config.WhichOneof("config") != "model_config_list":
        raise errors.ServingError(
            errors.Code.UNIMPLEMENTED,
            "the config must be a `model_config_list`",
        )
    return [_to_config(each) for each in config.model_config_list.config]


def read_configs(path: str) -> list[messages.ModelConfig]:
    """As `to_configs`, from a file of text; a ValueError names its path."""
    config = model_server_config_pb2.ModelServerConfig()
    try:
        with open(path, encoding="utf-8") as file:
            return to_configs(text_format.Parse(file.read(), config))
    except text_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from None
    except errors.ServingError as error:
        raise ValueError(f"{path}: {error.message}") from None


def _to_config(
    config: model_server_config_pb2.ModelConfig,
) -> messages.ModelConfig:
    if config.model_platform not in ("", "tensorflow"):
        raise errors.invalid_argument(
            "`model_platform` must be 'tensorflow'. Received: "
            f"{tensors.show(config.model_platform)}."
        )
    # What was not chosen is empty.
    policy = config.model_version_policy
    try:
        return messages.ModelConfig(
            name=config.name,
            base_path=config.base_path,
            latest=policy.latest.num_versions or 1,
            specific=tuple(policy.specific.versions),
            all_versions=policy.WhichOneof("policy_choice") == "all",
            labels=dict(config.version_labels),
        )
    except ValueError as error:
        raise errors.invalid_argument(error) from None


def _signature_map(
    exported: abc.Mapping[str, meta_graph_pb2.SignatureDef],
) -> get_model_metadata_pb2.SignatureDefMap:
    found = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in signatures.describe(exported).items():
        found.signature_def[key].CopyFrom(signature)
    return found


def _to_json(proto: message.Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        proto,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
