"""The client, against a server of TensorFlow Serving's protocol."""

import contextlib
import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tasks.serving import client


class Recogniser(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Says what it was asked; refuses the first `busy` requests."""

    refusal = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, busy=0, status=b"OK"):
        self.busy = busy
        self.status = status
        self.metadata = []
        self._lock = threading.Lock()

    def Predict(self, request, context):
        with self._lock:
            self.metadata.append(dict(context.invocation_metadata()))
            refuse = self.busy > 0
            self.busy -= refuse
        if refuse:
            context.set_trailing_metadata((("retry-after", "0.01"),))
            context.abort(self.refusal, "queue is full")
        inputs = {
            name: tf.make_ndarray(value)
            for name, value in request.inputs.items()
        }
        speaker = inputs.get("submodel_id", np.array([b"nobody"], object))[0]
        if speaker == b"unknown":
            context.abort(grpc.StatusCode.NOT_FOUND, "no Submodel of unknown")
        language = inputs.get("language", np.array([b""], object))[0]
        text = (
            f"{request.model_spec.name}/{request.model_spec.signature_name} "
            f"{speaker.decode()} {inputs['length'][0]} "
            f"{float(inputs['audio'][0, 0])}{language.decode()}"
        )
        response = predict_pb2.PredictResponse()
        for name, value in (
            ("text", [text.encode()]),
            ("score", np.array([-0.5], np.float32)),
            ("status", [self.status]),
            ("submodel_version", [b"3-0123456789ab"]),
            ("served_by", [b"submodel"]),
        ):
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextlib.contextmanager
def serving(recogniser):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        recogniser, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_asks_for_the_speakers_submodel_and_reads_the_answer():
    with serving(Recogniser()) as address, client.Client(address) as asked:
        found = asked.transcribe(np.array([0.25, 0.5], np.float32), "F01")
    assert found == client.Transcript(
        text="submodels/ F01 2 0.25",
        score=-0.5,
        submodel_version="3-0123456789ab",
        served_by="submodel",
    )


def test_a_language_goes_along_where_one_is_asked_for():
    with serving(Recogniser()) as address, client.Client(address) as asked:
        found = asked.transcribe(np.ones(3, np.float32), "F01", "es")
    assert found.text == "submodels/ F01 3 1.0es"


def test_without_a_speaker_the_base_signature_is_asked():
    with serving(Recogniser()) as address, client.Client(address) as asked:
        found = asked.transcribe(np.ones(3, np.float32), None)
    assert found.text == "submodels/base nobody 3 1.0"


def test_requests_in_flight_keep_their_own_answers():
    with serving(Recogniser()) as address, client.Client(address) as asked:
        pending = [
            asked.submit(np.full(n + 1, n, np.float32), f"S{n}")
            for n in range(20)
        ]
        for n, one in enumerate(pending):
            assert f"S{n} {n + 1} {float(n)}" in one.result().text


def test_unknown_speaker_is_an_error_with_the_servers_words():
    with serving(Recogniser()) as address, client.Client(address) as asked:
        with pytest.raises(client.TranscriptionError) as error:
            asked.transcribe(np.ones(3, np.float32), "unknown")
    assert error.value.code == "NOT_FOUND"
    assert str(error.value) == "no Submodel of unknown"


def test_where_no_server_runs_its_start_is_named():
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
    with client.Client(f"127.0.0.1:{port}") as asked:
        with pytest.raises(client.TranscriptionError) as error:
            asked.transcribe(np.ones(3, np.float32), "F01")
    assert error.value.code == "UNAVAILABLE"
    assert str(error.value) == (
        f"no server answers at 127.0.0.1:{port}; start one with python -m "
        "tasks.serve, and wait for its line `ready:`"
    )


def test_a_refusal_says_when_to_try_again():
    with serving(Recogniser(busy=1)) as address:
        with client.Client(address) as asked:
            with pytest.raises(client.TranscriptionError) as error:
                asked.transcribe(np.ones(3, np.float32), "F01")
    assert error.value.code == "RESOURCE_EXHAUSTED"
    assert error.value.retry_after_seconds == 0.01


def test_a_request_cut_off_by_the_servers_end_may_be_repeated():
    recogniser = Recogniser()
    recogniser.refusal = grpc.StatusCode.CANCELLED
    with serving(recogniser) as address, client.Client(address) as asked:
        recogniser.busy = 1
        with pytest.raises(client.TranscriptionError) as error:
            asked.transcribe(np.ones(3, np.float32), "F01")
    assert error.value.code == "UNAVAILABLE"


def test_a_cut_text_is_a_transcript_that_says_so():
    cut = "CUT: what was said after it is missing"
    with serving(Recogniser(status=cut.encode())) as address:
        with client.Client(address) as asked:
            found = asked.transcribe(np.ones(3, np.float32), "F01")
    assert found.text.endswith("F01 3 1.0")
    assert found.status == cut


def test_row_with_a_bad_status_is_an_error_and_not_an_empty_text():
    with serving(Recogniser(status=b"length must be positive")) as address:
        with client.Client(address) as asked:
            with pytest.raises(client.TranscriptionError, match="positive"):
                asked.transcribe(np.ones(3, np.float32), "F01")


def test_a_missing_server_is_named_by_its_address():
    with client.Client("127.0.0.1:1", timeout_seconds=5) as asked:
        with pytest.raises(client.TranscriptionError, match="127.0.0.1:1"):
            asked.transcribe(np.ones(3, np.float32), "F01")


def test_a_recording_too_long_for_a_message_is_reported():
    with serving(Recogniser()) as address:
        with client.Client(address) as asked:
            with pytest.raises(client.TranscriptionError, match="longer than"):
                asked.transcribe(np.ones(2_000_000, np.float32), "F01")


def test_a_token_goes_only_to_loopback_or_over_tls():
    recogniser = Recogniser()
    with serving(recogniser) as address:
        with client.Client(address, token="secret") as asked:
            asked.transcribe(np.ones(3, np.float32), "F01")
    assert recogniser.metadata[0]["authorization"] == "Bearer secret"
    for host in ("recogniser.example", "127.0.0.1.example", "127.example"):
        with pytest.raises(ValueError, match="only over TLS"):
            client.Client(f"{host}:8500", token="secret")
    for host in ("localhost", "[::1]", "127.0.0.2"):
        client.Client(f"{host}:8500", token="secret").close()


@pytest.mark.parametrize("field", ["private_key", "certificate_chain"])
def test_a_client_certificate_needs_tls(field):
    with pytest.raises(ValueError, match="root certificates"):
        client.Client("127.0.0.1:1", **{field: b"pem"})


def test_a_recording_is_named_by_its_path(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.linspace(0.25, 0.5, 4000), 8000)
    with serving(Recogniser()) as address:
        with client.Client(address) as asked:
            for each in (path, str(path)):
                text = asked.transcribe(each, "F01").text
                assert text.startswith("submodels/ F01 8000 0.2")


def test_a_recording_that_cannot_be_used_is_not_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "MAX_SECONDS", 0.4)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile([0.25, -0.25], 2000), 8000)
    with client.Client("127.0.0.1:1") as asked:
        with pytest.raises(ValueError, match="too long: over 0.4 s; python -m"):
            asked.submit(path, "F01")
        path.write_text("no sound")
        with pytest.raises(ValueError, match="a.wav: not readable as audio"):
            asked.submit(path, "F01")
        with pytest.raises(ValueError, match="gone.wav: audio file is missing"):
            asked.submit(tmp_path / "gone.wav", "F01")


@pytest.mark.parametrize("samples", [np.zeros((2, 3)), np.zeros(0), 3.0])
def test_samples_must_be_one_row(samples):
    with client.Client("127.0.0.1:1") as asked:
        with pytest.raises(ValueError, match=r"must be \[samples\]"):
            asked.submit(samples, "F01")
