"""TensorFlow Serving's stubs are answered as TensorFlow Serving would."""

import asyncio
import contextlib
import json
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tasks.serving import errors
from tasks.serving.fronts.grpc import calls as grpc_calls
from tests import waiting
from tests.tasks.serving import fake_server, harness

ANNA = [("authorization", harness.bearer("anna"))]
ADMIN = [("authorization", harness.bearer("admin"))]
# Not their descriptors: model_service_pb2 of 2.19 and 2.20 cannot be imported.
SERVICES = {
    "tensorflow.serving.PredictionService": (
        prediction_service_pb2_grpc.PredictionServiceServicer
    ),
    "tensorflow.serving.ModelService": (
        model_service_pb2_grpc.ModelServiceServicer
    ),
    "grpc.health.v1.Health": health_pb2_grpc.HealthServicer,
}


@pytest.fixture(scope="module")
def fronts():
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(fronts):
    fronts.server.error = fronts.server.hold = None
    fronts.server.ready = True
    fronts.server.seen.clear()


def _request(signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "submodels"
    request.model_spec.signature_name = signature
    inputs = inputs or {
        "audio": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
        "length": np.array([2, 3], np.int32),
        "submodel_id": np.array([b"anna", b"anna"]),
    }
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def _error_of(answers):
    """The error that a stream of answers ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    return caught.value


def _fails(call, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=60, **named)
    details = caught.value.details()
    assert len(details.encode()) <= errors.MAX_MESSAGE_BYTES
    assert "Traceback" not in details
    return caught.value


def test_a_request_is_refused_unread_where_it_would_wait(fronts, monkeypatch):
    monkeypatch.setattr(fronts.server, "is_full", True)
    unread = predict_pb2.PredictRequest()
    # Read, it would be refused for what it says.
    error = _fails(fronts.prediction().Predict, unread, metadata=ANNA)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["retry-after"] == "1.5"
    error = _fails(fronts.prediction().Predict, unread)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_predict_answers_each_row_and_says_what_served_it(fronts):
    response, call = fronts.prediction().Predict.with_call(
        _request(), timeout=60, metadata=ANNA
    )
    outputs = {
        name: tf.make_ndarray(each).tolist()
        for name, each in response.outputs.items()
    }
    assert outputs == {
        "text": [b"anna:2", b"anna:3"],
        "score": [3.0, 15.0],
        "status": [b"OK", b"OK"],
        "submodel_version": [b"7-anna", b"7-anna"],
        "served_by": [b"submodel", b"submodel"],
    }
    assert response.model_spec.name == "submodels"
    assert response.model_spec.version.value == 3
    assert response.model_spec.signature_name == "serving_default"
    trailers = dict(call.trailing_metadata())
    assert trailers["x-submodel-version"] == "7-anna"
    assert trailers["x-served-by"] == "submodel"


def test_a_cut_text_has_its_status_beside_it(fronts, monkeypatch):
    cut = "CUT: what was said after it is missing"
    monkeypatch.setattr(fronts.server, "status", cut)
    response = fronts.prediction().Predict(
        _request(), timeout=60, metadata=ANNA
    )
    text, status = (
        tf.make_ndarray(response.outputs[name]).tolist()
        for name in ("text", "status")
    )
    assert text == [b"anna:2", b"anna:3"]
    assert status == [cut.encode()] * 2


@pytest.mark.parametrize(
    "signature, extra, named, served_by",
    [
        ("", {"submodel_id": np.array(b"anna")}, (), "submodel"),
        ("", {"submodel_id": np.array([b"anna"])}, (), "submodel"),
        ("", {}, [("x-submodel-id", "anna")], "submodel"),
        ("", {"submodel": np.ones((2, 4), np.float32)}, (), "request"),
        ("base", {}, (), "base"),
        (
            "grouped",
            {
                "submodels": np.array([[1.0], [2.0]], np.float32),
                "index": np.array([1, 0], np.int32),
            },
            (),
            "request",
        ),
    ],
)
def test_each_way_to_name_a_submodel(
    fronts, signature, extra, named, served_by
):
    request = _request(signature, audio=np.ones((2, 3), np.float32), **extra)
    response = fronts.prediction().Predict(
        request, timeout=60, metadata=[*ANNA, *named]
    )
    assert set(tf.make_ndarray(response.outputs["served_by"])) == {
        served_by.encode()
    }
    if signature == "grouped":
        rows = [each.vector[0] for each in fronts.server.seen[0][2]]
        assert rows == [2.0, 1.0]


@pytest.mark.parametrize("signature", ["", "base"])
@pytest.mark.parametrize(
    "sent, seen",
    [
        (None, [None, None]),
        (np.array(8000), [8000, 8000]),
        (np.array([16000, 8000]), [16000, 8000]),
    ],
)
def test_a_sample_rate_comes_with_the_audio(fronts, signature, sent, seen):
    inputs = {"audio": np.ones((2, 3), np.float32)}
    if not signature:
        inputs["submodel_id"] = np.array(b"anna")
    if sent is not None:
        inputs["sample_rate"] = sent.astype(np.int32)
    fronts.prediction().Predict(
        _request(signature, **inputs), timeout=60, metadata=ANNA
    )
    [(_, _, utterances, _)] = fronts.server.seen
    assert [each.sample_rate for each in utterances] == seen


@pytest.mark.parametrize("signature", ["", "base"])
@pytest.mark.parametrize(
    "sent, seen",
    [
        (None, ["", ""]),
        (np.array(b"es"), ["es", "es"]),
        (np.array([b"ES", b"pt-BR"]), ["es", "pt"]),
        (np.array([b"", b"de"]), ["", "de"]),
    ],
)
def test_a_language_comes_with_the_audio(fronts, signature, sent, seen):
    inputs = {"audio": np.ones((2, 3), np.float32)}
    if not signature:
        inputs["submodel_id"] = np.array(b"anna")
    if sent is not None:
        inputs["language"] = sent.astype(object)
    fronts.prediction().Predict(
        _request(signature, **inputs), timeout=60, metadata=ANNA
    )
    [(_, _, utterances, _)] = fronts.server.seen
    assert [each.language for each in utterances] == seen


@pytest.mark.parametrize("sent", [b"Spanish", b"\xff", b"a" * 10_000])
def test_what_is_no_language_is_refused(fronts, sent):
    request = _request(
        "base",
        audio=np.ones((1, 3), np.float32),
        language=np.array([sent], object),
    )
    error = _fails(fronts.prediction().Predict, request, metadata=ANNA)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'language'" in error.details() and len(error.details()) < 300


def test_an_output_filter_limits_the_outputs(fronts):
    request = _request()
    request.output_filter.append("text")
    response = fronts.prediction().Predict(request, timeout=60, metadata=ANNA)
    assert list(response.outputs) == ["text"]
    request.output_filter.append("nonsense")
    error = _fails(fronts.prediction().Predict, request, metadata=ANNA)
    assert "nonsense" in error.details()


AUDIO = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    "request_, code, message",
    [
        (_request("nonsense"), "FAILED_PRECONDITION", "'nonsense' not found"),
        (_request(audio=AUDIO), "INVALID_ARGUMENT", "name the user once"),
        (
            _request(audio=AUDIO, x=AUDIO, submodel_id=np.array(b"anna")),
            "INVALID_ARGUMENT",
            "Sent extra: {x}. Missing but required: {}",
        ),
        (
            _request("grouped", audio=AUDIO),
            "INVALID_ARGUMENT",
            "Missing but required: {index,submodels}",
        ),
        (
            _request("base", audio=np.ones((2, 3))),
            "INVALID_ARGUMENT",
            "DT_FLOAT. Received: DT_DOUBLE",
        ),
        (
            _request("base", audio=np.ones(3, np.float32)),
            "INVALID_ARGUMENT",
            "for one utterance it is [1, 3]",
        ),
        (
            _request("base", audio=np.ones((0, 3), np.float32)),
            "INVALID_ARGUMENT",
            "1 to 8 utterances. Received: 0",
        ),
        (
            _request("base", audio=np.ones((1, 0), np.float32)),
            "INVALID_ARGUMENT",
            "'audio' must not be empty",
        ),
        (
            _request("base", audio=np.ones((9, 3), np.float32)),
            "INVALID_ARGUMENT",
            "1 to 8 utterances. Received: 9",
        ),
        (
            _request("base", audio=AUDIO, length=np.array([3, 4], np.int32)),
            "INVALID_ARGUMENT",
            "'length' must lie in 1 to 3. Received: 4 in row 1",
        ),
        (
            _request("base", audio=AUDIO, length=np.array([3], np.int32)),
            "INVALID_ARGUMENT",
            "as many rows as 'audio', 2. Received: 1",
        ),
        (
            _request(
                "grouped",
                audio=AUDIO,
                submodels=AUDIO,
                index=np.array([0, -1], np.int32),
            ),
            "INVALID_ARGUMENT",
            "'index' must lie in 0 to 1. Received: -1",
        ),
        (
            _request(audio=AUDIO, submodel_id=np.array([b"a", b"b", b"c"])),
            "INVALID_ARGUMENT",
            "must have 1 or 2 values",
        ),
        (
            _request(audio=AUDIO, submodel_id=np.array([b"\xff"])),
            "INVALID_ARGUMENT",
            "UTF-8",
        ),
        (
            _request(
                audio=AUDIO,
                submodel=AUDIO,
                submodel_id=np.array([b"anna"]),
            ),
            "INVALID_ARGUMENT",
            "{submodel,submodel_id}",
        ),
        (
            _request(audio=AUDIO, submodel_id=np.array([b"ben"])),
            "PERMISSION_DENIED",
            "not your",
        ),
    ],
)
def test_a_wrong_request_is_refused(fronts, request_, code, message):
    error = _fails(fronts.prediction().Predict, request_, metadata=ANNA)
    assert error.code().name == code
    assert message in error.details()


def test_the_user_is_named_once(fronts):
    named = [*ANNA, ("x-submodel-id", "anna")]
    error = _fails(fronts.prediction().Predict, _request(), metadata=named)
    assert "{submodel_id,x-submodel-id}" in error.details()
    twice = [*named, ("x-submodel-id", "ben")]
    request = _request(audio=AUDIO)
    error = _fails(fronts.prediction().Predict, request, metadata=twice)
    assert "x-submodel-id twice" in error.details()
    request = _request("base", audio=AUDIO)
    error = _fails(fronts.prediction().Predict, request, metadata=named)
    assert "takes no x-submodel-id" in error.details()


def test_every_method_of_the_services_is_in_the_table(fronts):
    named = {
        f"/{service}/{method}"
        for service, servicer in SERVICES.items()
        for method in vars(servicer)
        if not method.startswith("_") and method != "List"
    }
    assert set(fronts.grpc.methods) == named


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", harness.TOKENS["anna"])],
        [("authorization", "")],
    ],
)
def test_no_method_answers_without_a_credential(fronts, metadata):
    paths = [*fronts.grpc.methods, "/grpc.health.v1.Health/List", "/a/b"]
    for path in paths:
        body = b""
        if path.endswith(("/Check", "/Watch")):
            # Of one model; the whole server's health is open.
            body = health_pb2.HealthCheckRequest(
                service="submodels"
            ).SerializeToString()
        call = fronts.channel().unary_unary(path)
        error = _fails(call, body, metadata=metadata)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED, path
    assert not fronts.server.seen


def test_tensorflow_servings_other_methods_are_unimplemented(fronts):
    call = fronts.channel().unary_unary(
        "/tensorflow.serving.PredictionService/Classify"
    )
    error = _fails(call, b"", metadata=ANNA)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_have_the_signatures_as_the_server_takes_them(fronts):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "submodels"
    request.metadata_field.append("signature_def")
    response = fronts.prediction().GetModelMetadata(
        request, timeout=60, metadata=ANNA
    )
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert set(signature.inputs) == {
        "audio",
        "language",
        "sample_rate",
        "submodel",
        "submodel_id",
    }
    assert {"submodel_version", "served_by"} <= set(signature.outputs)
    assert response.model_spec.version.value == 3
    request.metadata_field.append("other")
    error = _fails(fronts.prediction().GetModelMetadata, request, metadata=ANNA)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_status_has_states_and_errors(fronts):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "submodels"
    versions = (
        fronts.model()
        .GetModelStatus(request, timeout=60, metadata=ANNA)
        .model_version_status
    )
    assert [(each.version, each.state) for each in versions] == [
        (3, 30),
        (2, 50),
    ]
    assert versions[1].status.error_message == "broken"
    request.model_spec.name = "other"
    error = _fails(fronts.model().GetModelStatus, request, metadata=ANNA)
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_version_0_is_the_newest_and_another_is_itself(fronts):
    for number, expected in ((0, None), (3, 3)):
        request = _request()
        request.model_spec.version.value = number
        fronts.prediction().Predict(request, timeout=60, metadata=ANNA)
        assert fronts.server.seen[-1][1].version == expected


def test_reload_takes_an_operator(fronts):
    request = model_management_pb2.ReloadConfigRequest()
    config = request.config.model_config_list.config.add(
        name="submodels", base_path="/exports", model_platform="tensorflow"
    )
    config.model_version_policy.specific.versions.extend([2, 3])
    config.version_labels["stable"] = 2
    call = fronts.model().HandleReloadConfigRequest
    other = [("authorization", harness.bearer("other"))]
    for metadata in (ANNA, other):
        error = _fails(call, request, metadata=metadata)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert fronts.server.configs is None
    response = call(request, timeout=60, metadata=ADMIN)
    assert response.status.error_code == 0
    (config,) = fronts.server.configs
    assert (config.name, config.base_path) == ("submodels", "/exports")
    assert config.specific == (2, 3) and config.labels == {"stable": 2}
    error = _fails(
        call, model_management_pb2.ReloadConfigRequest(), metadata=ADMIN
    )
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_name_of_megabytes_is_refused_in_a_short_message(fronts):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "a " * 300_000
    error = _fails(fronts.model().GetModelStatus, request, metadata=ANNA)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(error.details()) < 1024


def test_health_is_open_for_the_server_and_follows_it(fronts):
    stub = health_pb2_grpc.HealthStub(fronts.channel())
    check = health_pb2.HealthCheckRequest
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(check(), timeout=60).status == serving
    assert (
        stub.Check(check(service="submodels"), timeout=60, metadata=ANNA).status
        == serving
    )
    error = _fails(stub.Check, check(service="nonsense"), metadata=ANNA)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(check(), timeout=60)
    assert next(watch).status == serving
    fronts.server.ready = False
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()


def test_health_checks_do_not_fill_the_server(fronts):
    stub = health_pb2_grpc.HealthStub(fronts.channel())
    check = health_pb2.HealthCheckRequest()
    watches = [stub.Watch(check, timeout=60) for _ in range(64)]
    for watch in watches:
        next(watch)
    error = _error_of(stub.Watch(check, timeout=60))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # Who watches keeps nobody from a check, nor from a watch with a name.
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(check, timeout=60).status == serving
    named = stub.Watch(check, timeout=60, metadata=ANNA)
    assert next(named).status == serving
    watches.append(named)
    fronts.prediction().Predict(_request(), timeout=60, metadata=ANNA)
    for watch in watches:
        watch.cancel()


def test_stalled_anonymous_checks_do_not_keep_credentialed_ones_out(
    fronts, monkeypatch
):
    monkeypatch.setattr(grpc_calls, "OPEN_SECONDS", 1.0)
    stub = health_pb2_grpc.HealthStub(fronts.channel())
    stall = fronts.channel().stream_unary("/grpc.health.v1.Health/Check")
    is_over = threading.Event()

    def nothing():
        is_over.wait(60)
        yield b""

    # Of which each is cut off after a second.
    slow = [stall.future(nothing(), timeout=60) for _ in range(64)]
    check = health_pb2.HealthCheckRequest()
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(check, timeout=60, metadata=ANNA).status == serving
    for each in slow:
        error = each.exception()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive in time" in error.details()
    is_over.set()
    monkeypatch.undo()
    assert stub.Check(check, timeout=60).status == serving


def test_open_methods_treat_a_wrong_credential_as_none(fronts):
    stub = health_pb2_grpc.HealthStub(fronts.channel())
    check = health_pb2.HealthCheckRequest
    wrong = [("authorization", "Bearer nonsense")]
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(check(), timeout=60, metadata=wrong).status == serving
    error = _fails(stub.Check, check(service="submodels"), metadata=wrong)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_error_says_when_to_try_again(fronts):
    fronts.server.error = errors.ServingError(
        errors.Code.RESOURCE_EXHAUSTED, "é" * 2000, retry_after_seconds=1.5
    )
    error = _fails(fronts.prediction().Predict, _request(), metadata=ANNA)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details().startswith("ééé")
    trailers = dict(error.trailing_metadata())
    assert trailers["retry-after"] == "1.5"
    assert trailers["grpc-retry-pushback-ms"] == "1500"


def test_an_internal_error_reveals_nothing(fronts):
    fronts.server.error = RuntimeError("secret inside")
    error = _fails(fronts.prediction().Predict, _request(), metadata=ANNA)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()


def test_a_message_that_is_too_large_is_refused(fronts):
    request = _request("base", audio=np.zeros((1, 1 << 19), np.float32))
    error = _fails(fronts.prediction().Predict, request, metadata=ANNA)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not fronts.server.seen


def test_a_message_that_is_gzip_is_read(fronts):
    samples = np.zeros((1, 200_000), np.float32)
    response = fronts.prediction().Predict(
        _request("base", audio=samples),
        timeout=60,
        metadata=ANNA,
        compression=grpc.Compression.Gzip,
    )
    assert tf.make_ndarray(response.outputs["text"]) == [b":200000"]


def test_a_bomb_is_refused_and_takes_no_memory(fronts):
    stub = fronts.channel().unary_unary(
        "/tensorflow.serving.PredictionService/Predict"
    )
    for compression, code, message in (
        ("Gzip", "INVALID_ARGUMENT", "inflates to more than 1048576 bytes"),
        ("Deflate", "UNIMPLEMENTED", "disabled"),
    ):
        error = _fails(
            stub,
            bytes(64 << 20),
            metadata=ANNA,
            compression=grpc.Compression[compression],
        )
        assert error.code() is grpc.StatusCode[code]
        assert message in error.details()
    assert not fronts.server.seen
    assert fronts.intake.num_bytes == 0


def test_recordings_are_strings(fronts):
    response = fronts.prediction().Predict(
        _request(
            audio=np.array([b"RIFF.", b"fLaC...."], object),
            submodel_id=np.array([b"anna"], object),
        ),
        timeout=60,
        metadata=ANNA,
    )
    texts = tf.make_ndarray(response.outputs["text"]).tolist()
    assert texts == [b"anna:5 bytes", b"anna:8 bytes"]


def test_garbage_is_refused_as_a_message(fronts):
    stub = fronts.channel().unary_unary(
        "/tensorflow.serving.PredictionService/Predict"
    )
    error = _fails(stub, b"\xff" * 100, metadata=ANNA)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "tensorflow.serving.PredictRequest" in error.details()


@contextlib.contextmanager
def _stalled(fronts):
    """A call whose message does not come."""
    is_over = threading.Event()

    def nothing():
        is_over.wait(60)
        yield b""

    call = fronts.channel().stream_unary(
        "/tensorflow.serving.PredictionService/Predict"
    )
    try:
        yield call.future(nothing(), timeout=60, metadata=ANNA)
    finally:
        is_over.set()


def test_a_sender_that_stalls_holds_nobody_up(fronts):
    with _stalled(fronts) as slow:
        started = time.monotonic()
        fronts.prediction().Predict(_request(), timeout=60, metadata=ANNA)
        assert time.monotonic() - started < 10
        assert not slow.done()
        slow.cancel()


def test_a_sender_that_stalls_is_cut_off():
    control = harness.access_control()
    with (
        harness.Fronts(
            fake_server.FakeServer(), control, body_seconds=1.0
        ) as running,
        _stalled(running) as slow,
    ):
        error = slow.exception()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "did not arrive in time" in error.details()


def test_a_client_that_goes_away_cancels_its_request(fronts):
    fronts.server.hold = asyncio.Event()
    before = fronts.server.cancelled
    future = fronts.prediction().Predict.future(
        _request(), timeout=60, metadata=ANNA
    )
    waiting.block_until(lambda: fronts.server.seen)
    future.cancel()
    waiting.block_until(lambda: fronts.server.cancelled == before + 1)


def test_the_deadline_reaches_the_server(fronts):
    fronts.prediction().Predict(_request(), timeout=60, metadata=ANNA)
    fronts.prediction().Predict(_request(), metadata=ANNA)
    (_, _, _, first), (_, _, _, second) = fronts.server.seen
    assert first is not None and second is None


def test_a_trace_comes_back_and_the_log_names_nobody(tmp_path):
    trace = "0af7651916cd43dd8448eb211c80319c"
    path = tmp_path / "access.jsonl"
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control(), log_path=path
    ) as running:
        _, call = running.prediction().Predict.with_call(
            _request(),
            timeout=60,
            metadata=[
                *ANNA,
                ("traceparent", f"00-{trace}-b7ad6b7169203331-01"),
            ],
        )
        assert trace in dict(call.trailing_metadata())["traceparent"]
    (line,) = path.read_text().splitlines()
    entry = json.loads(line)
    assert entry["trace_id"] == trace
    assert entry["code"] == "OK" and entry["utterances"] == 2
    assert entry["served_by"] == "submodel" and entry["caller"] == "anna"
    del entry["caller"]
    assert "anna" not in json.dumps(entry) and "clinic" not in line
    assert len(entry["submodels"]) == 1
