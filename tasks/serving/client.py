"""A client of a server of Submodels, over TensorFlow Serving's gRPC.

    from tasks.serving import client

    with client.Client("localhost:8500", token=TOKEN) as recogniser:
        print(recogniser.transcribe(samples, submodel_id="F01").text)

It speaks the public protocol alone, so another server of that protocol that
takes `submodel_id` and `sample_rate` answers it too. Whoever calls it resamples
and cuts: it takes samples at the rate of the server's base model, which refuses
any other.
"""

import dataclasses
import ipaddress

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

_OUTPUTS = ("text", "score", "status", "submodel_version", "served_by")
# Of one message, either way; 30 s of audio has 2 MB.
_MAX_MESSAGE_BYTES = 64 * 2**20
# What gRPC says of requests whose channel is closed here.
_CLOSED = "Channel closed!"


@dataclasses.dataclass(frozen=True)
class Transcript:
    """What a server answered for one utterance.

    Attributes:
        text: str.
        score: float, mean log probability of a token.
        submodel_version: str, the version that answered; empty for the base.
        served_by: str, "submodel", "base" or "request" (a Submodel that came
            with the request).
    """

    text: str
    score: float
    submodel_version: str
    served_by: str


class TranscriptionError(ValueError):
    """An utterance that was not transcribed.

    Attributes:
        code: str, the name of gRPC's status code.
        retry_after_seconds: float, when to try again; None where trying again
            would not help or the server does not say.
    """

    def __init__(self, message, code, retry_after_seconds=None):
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Client:
    """One connection to a server; may be used from several threads.

    Args:
        address: str, `host:port`.
        token: str, a bearer token; sent over TLS or to loopback alone.
        root_certificates: bytes, PEM; given, the connection uses TLS.
        private_key, certificate_chain: bytes, PEM, for mutual TLS.
        model: str, the served model's name.
        timeout_seconds: float, of a request.
        sample_rate: int, of the samples, in hertz: that of the server's base
            model, which refuses another and says which it takes.

    Raises:
        ValueError: a key without TLS, or a token without it to another
            machine.
    """

    def __init__(
        self,
        address,
        token="",
        root_certificates=None,
        private_key=None,
        certificate_chain=None,
        model="submodels",
        timeout_seconds=60.0,
        sample_rate=16000,
    ):
        if (private_key or certificate_chain) and not root_certificates:
            raise ValueError(
                "a client's certificate is for TLS; give the root "
                "certificates that the server's certificate is checked with"
            )
        if token and not root_certificates and not _is_loopback(address):
            raise ValueError(
                f"credentials go to {address} over TLS alone; give the root "
                "certificates that the server's certificate is checked with"
            )
        options = [
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ]
        if root_certificates:
            credentials = grpc.ssl_channel_credentials(
                root_certificates, private_key, certificate_chain
            )
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._address = address
        self._metadata = ()
        if token:
            self._metadata = (("authorization", f"Bearer {token}"),)
        self._model = model
        self._timeout_seconds = timeout_seconds
        self.sample_rate = sample_rate

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Closes the connection; requests under way are cancelled."""
        self._channel.close()

    def transcribe(self, samples, submodel_id):
        """Transcribes one utterance; see `submit`.

        Returns:
            `Transcript`.
        """
        return self.submit(samples, submodel_id).result()

    def submit(self, samples, submodel_id):
        """Sends one utterance without waiting for the answer.

        Args:
            samples: `[samples]` float32 in [-1, 1], at the base model's rate.
            submodel_id: str, whose Submodel is to be used; None for the base.

        Returns:
            An object whose `result()` waits, gives a `Transcript` and raises a
            `TranscriptionError` where there is none.

        Raises:
            ValueError: `samples` are not one row of numbers.
        """
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1 or not samples.size:
            raise ValueError(
                "samples must be [samples], not empty. Received the shape: "
                f"{list(samples.shape)}."
            )
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        inputs = {
            "audio": samples[None],
            "length": np.array([samples.size], np.int32),
            "sample_rate": np.array([self.sample_rate], np.int32),
        }
        if submodel_id is None:
            request.model_spec.signature_name = "base"
        else:
            inputs["submodel_id"] = np.array([submodel_id.encode()], object)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        call = self._service.Predict.future(
            request, timeout=self._timeout_seconds, metadata=self._metadata
        )
        return _Pending(call, self._address)


class _Pending:
    def __init__(self, call, address):
        self._call = call
        self._address = address

    def result(self):
        try:
            response = self._call.result()
        except grpc.RpcError as error:
            raise _error(error, self._address) from None
        except grpc.FutureCancelledError:
            raise TranscriptionError(
                "the request was cancelled", "CANCELLED"
            ) from None
        found = {
            name: tf.make_ndarray(response.outputs[name]).reshape(-1)[0]
            for name in _OUTPUTS
            if name in response.outputs
        }
        status = _text(found.get("status", b"OK"))
        if "text" not in found or status != "OK":
            raise TranscriptionError(
                status if "text" in found else "the answer holds no text",
                "INVALID_ARGUMENT" if "text" in found else "INTERNAL",
            )
        return Transcript(
            text=_text(found["text"]),
            score=float(found.get("score", float("nan"))),
            submodel_version=_text(found.get("submodel_version", b"")),
            served_by=_text(found.get("served_by", b"")),
        )


def _text(value):
    return value.decode("utf-8", "replace")


def _error(error, address):
    code = error.code().name
    if code == "CANCELLED" and error.details() != _CLOSED:
        # Not by us: gRPC says so of what is on its way while a server ends.
        code = "UNAVAILABLE"
    metadata = dict(error.trailing_metadata() or ())
    try:
        retry_after = float(metadata.get("retry-after", ""))
    except ValueError:
        retry_after = None
    details = error.details() or code
    if "larger than max" in details:
        # In gRPC's words, before the server's own limits are looked at.
        details = f"longer than a request may be: {details}"
    if code == "UNAVAILABLE" and retry_after is None:
        details = f"no server answers at {address}: {details}"
    return TranscriptionError(details, code, retry_after)


def _is_loopback(address):
    host = address.rpartition(":")[0].strip("[]")
    try:
        # Not by how it begins: 127.0.0.1.example is somebody's host.
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
