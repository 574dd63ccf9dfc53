"""TensorFlow Serving's messages from and to the server's own."""

from google.protobuf import json_format, text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tasks.serving import errors, messages
from tasks.serving.fronts import tensors, utterances

# Longer ones name nothing, and are long to write into an error.
_MAX_NAME = 256


def to_spec(spec):
    """The `messages.ModelSpec` of a ModelSpec.

    Version 0 means the newest one: OpenVINO's client sends it for none.

    Raises:
        status.ServingError: INVALID_ARGUMENT, it names no model.
    """
    if not spec.name:
        raise tensors.invalid("the request needs `model_spec` with a name")
    if max(len(spec.name), len(spec.version_label)) > _MAX_NAME:
        raise tensors.invalid(
            f"a model's name and label have at most {_MAX_NAME} characters"
        )
    choice = spec.WhichOneof("version_choice")
    return messages.ModelSpec(
        spec.name,
        (spec.version.value or None) if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def to_utterances(request, user, limits):
    """The utterances of a PredictRequest.

    Args:
        request: `PredictRequest`.
        user: string, the Submodel that the metadata name, or None.
        limits: `limits.Limits`.

    Raises:
        status.ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, see
            `utterances` and `tensors`.
    """
    signature = request.model_spec.signature_name
    inputs = utterances.inputs_of(signature, request.inputs.keys())
    unknown = set(request.output_filter) - set(utterances.OUTPUTS)
    if unknown:
        raise tensors.invalid(
            "`output_filter` names unknown outputs "
            f"{tensors.show_names(unknown)}. There are: "
            f"{tensors.show_names(utterances.OUTPUTS)}."
        )
    arrays = {
        name: tensors.to_array(
            proto, name, inputs[name].dtype, limits.max_request_bytes
        )
        for name, proto in request.inputs.items()
    }
    return utterances.from_arrays(
        signature, arrays, user, limits.max_request_utterances
    )


def predict_response(request, version, outputs):
    """The answer to a PredictRequest.

    Args:
        request: `PredictRequest`.
        version: int, of the model that answered.
        outputs: dict of name to array.
    """
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = (
        request.model_spec.signature_name or utterances.DEFAULT_SIGNATURE
    )
    for name in request.output_filter or outputs:
        response.outputs[name].CopyFrom(tensors.to_proto(outputs[name]))
    return response


def metadata_response(name, version, signatures):
    """The GetModelMetadataResponse of a model's signatures."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in utterances.describe(signatures).items():
        signature_map.signature_def[key].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signature_map)
    return response


def metadata_json(name, version, signatures):
    """As `metadata_response`, in the form that REST answers with."""
    response = metadata_response(name, version, signatures)
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signature_map)
    return {
        "model_spec": {
            "name": name,
            "signature_name": "",
            "version": str(version),
        },
        "metadata": {"signature_def": _to_json(signature_map)},
    }


def status_response(versions):
    """The GetModelStatusResponse of a list of `messages.VersionStatus`."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for each in versions:
        entry = response.model_version_status.add(
            version=each.version, state=each.state.value
        )
        error = each.error
        if error is not None:
            is_ours = isinstance(error, errors.ServingError)
            code = error.code if is_ours else errors.Code.INTERNAL
            entry.status.error_code = code.number
            entry.status.error_message = (
                error.message if is_ours else "loading failed"
            )
        else:
            entry.status.error_code = errors.Code.OK.number
    return response


def status_json(versions):
    """As `status_response`, in the form that REST answers with."""
    return _to_json(status_response(versions))


def to_configs(config):
    """The list of `messages.ModelConfig` in a ModelServerConfig.

    Raises:
        status.ServingError: INVALID_ARGUMENT, not of TensorFlow;
            UNIMPLEMENTED, a custom config.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise errors.ServingError(
            errors.Code.UNIMPLEMENTED,
            "the config must be a `model_config_list`",
        )
    return [_to_config(each) for each in config.model_config_list.config]


def configs_from_text(path, text):
    """As `to_configs`, of a ModelServerConfig as text.

    Raises:
        ValueError: it is no such text, or asks for what is not served.
    """
    config = model_server_config_pb2.ModelServerConfig()
    try:
        return to_configs(text_format.Parse(text, config))
    except text_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from None
    except errors.ServingError as error:
        raise ValueError(f"{path}: {error.message}") from None


def _to_config(config):
    if config.model_platform not in ("", "tensorflow"):
        raise tensors.invalid(
            "`model_platform` must be 'tensorflow'. Received: "
            f"{tensors.show(config.model_platform)}."
        )
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    latest = policy.latest.num_versions if choice == "latest" else 0
    try:
        return messages.ModelConfig(
            name=config.name,
            base_path=config.base_path,
            latest=latest or 1,
            specific=(
                tuple(policy.specific.versions) if choice == "specific" else ()
            ),
            all_versions=choice == "all",
            labels=dict(config.version_labels),
        )
    except ValueError as error:
        raise tensors.invalid(str(error)) from None


def _to_json(proto):
    return json_format.MessageToDict(
        proto,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
