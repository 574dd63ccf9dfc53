"""A client of a server of Submodels, over TensorFlow Serving's gRPC.

    from tasks.serving import client

    with client.Client("localhost:8500", token=TOKEN) as recogniser:
        print(recogniser.transcribe("a.m4a", submodel_id="F01").text)

It speaks only the public protocol, so any server of that protocol that takes
`submodel_id` and `sample_rate` answers it. A recording is decoded here, and
its samples are sent.
"""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

import dataclasses
import ipaddress
import os
from typing import Any, Self

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tasks.asr.data import audio as audio_lib
from tasks.asr.recognition import statuses

_OUTPUTS = ("text", "score", "status", "submodel_version", "served_by")
# Longer than any base model takes: no file fills the memory to be refused.
MAX_SECONDS = 120.0
# In either direction; 30 s of audio takes 2 MB.
_MAX_MESSAGE_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Transcript:
    """A server's answer for one utterance.

    Attributes:
        score: mean log probability of a token.
        submodel_version: the version that answered; empty for the base.
        served_by: "submodel", "base" or "request" (a Submodel that came with
            the request).
        status: "OK", or "CUT: ..." if the end of the text is missing.
    """

    text: str
    score: float
    submodel_version: str
    served_by: str
    status: str = statuses.OK

    @property
    def is_cut(self) -> bool:
        """Whether the end of the text is missing."""
        return self.status != statuses.OK


class TranscriptionError(ValueError):
    """An utterance that was not transcribed.

    Attributes:
        code: the name of gRPC's status code.
        retry_after_seconds: when to try again; None if that would not help or
            the server does not say.
    """

    def __init__(
        self, message: str, code: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Client:
    """One connection to a server; several threads may use it.

    Args:
        address: `host:port`.
        token: a bearer token; sent only over TLS or to loopback.
        root_certificates: PEM; turns TLS on.
        private_key: PEM, for mutual TLS, as `certificate_chain`.
        timeout_seconds: of a request.
        sample_rate: of the samples that are sent, in hertz. The server refuses
            any but its base model's, and says which that is.

    Raises:
        ValueError: a key is given without TLS, or a token would leave this
            machine without it.
    """

    def __init__(
        self,
        address: str,
        token: str = "",
        root_certificates: bytes | None = None,
        private_key: bytes | None = None,
        certificate_chain: bytes | None = None,
        model: str = "submodels",
        timeout_seconds: float = 60.0,
        sample_rate: int = 16000,
    ) -> None:
        if (private_key or certificate_chain) and not root_certificates:
            raise ValueError(
                "a client's certificate needs TLS; give the root certificates "
                "that verify the server's certificate"
            )
        if token and not root_certificates and not _is_loopback(address):
            raise ValueError(
                f"a token is sent to {address} only over TLS; give the root "
                "certificates that verify the server's certificate"
            )
        options = [
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ]
        if root_certificates:
            credentials = grpc.ssl_channel_credentials(
                root_certificates,
                private_key or None,
                certificate_chain or None,
            )
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._address = address
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._model = model
        self._timeout_seconds = timeout_seconds
        self.sample_rate = sample_rate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and cancels requests under way."""
        self._channel.close()

    def transcribe(
        self,
        audio: npt.ArrayLike | os.PathLike[str],
        submodel_id: str | None,
        language: str = "",
    ) -> Transcript:
        """Transcribes one utterance; see `submit`."""
        return self.submit(audio, submodel_id, language).result()

    def submit(
        self,
        audio: npt.ArrayLike | os.PathLike[str],
        submodel_id: str | None,
        language: str = "",
    ) -> "Pending":
        """Sends one utterance without waiting for the answer.

        Args:
            audio: the path of a recording, in any common format and at any
                rate; or `[samples]` float32 in [-1, 1] at `sample_rate`.
            submodel_id: whose Submodel to use; None for the base.
            language: code of what to write, such as "es"; the Submodel's own,
                or else the server's, if empty.

        Raises:
            ValueError: the recording cannot be used, or is far too long; or
                the samples are not one row of numbers.
        """
        if isinstance(audio, str | os.PathLike):
            audio = audio_lib.read(
                os.fspath(audio), self.sample_rate, max_seconds=MAX_SECONDS
            )
        samples = np.asarray(audio, np.float32)
        if samples.ndim != 1 or not samples.size:
            raise ValueError(
                "samples must be [samples], not empty; a batch is sent one by "
                f"one. Received the shape: {list(samples.shape)}."
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
        if language:
            inputs["language"] = np.array([language.encode()], object)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        call = self._service.Predict.future(
            request, timeout=self._timeout_seconds, metadata=self._metadata
        )
        return Pending(call, self._address)


class Pending:
    """An utterance on its way."""

    def __init__(self, call: Any, address: str) -> None:
        self._call = call
        self._address = address

    def result(self) -> Transcript:
        """Waits for the answer.

        Raises:
            TranscriptionError: the utterance was not transcribed.
        """
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
        if "text" not in found:
            raise TranscriptionError("the answer holds no text", "INTERNAL")
        status = _text(found.get("status", b"OK"))
        if not statuses.has_text(status):
            raise TranscriptionError(status, "INVALID_ARGUMENT")
        return Transcript(
            text=_text(found["text"]),
            score=float(found.get("score", float("nan"))),
            submodel_version=_text(found.get("submodel_version", b"")),
            served_by=_text(found.get("served_by", b"")),
            status=status,
        )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _error(error: Any, address: str) -> TranscriptionError:
    code = error.code().name
    if code == "CANCELLED" and error.details() != "Channel closed!":
        # The server's end cancelled it: this side closes with those words.
        code = "UNAVAILABLE"
    metadata = dict(error.trailing_metadata() or ())
    try:
        retry_after = float(metadata.get("retry-after", ""))
    except ValueError:
        retry_after = None
    details = error.details() or code
    if "larger than max" in details:
        # gRPC refuses it before the server applies its own limits.
        details = (
            f"longer than a request may be: {details}; {audio_lib.HOW_TO_SPLIT}"
        )
    if code == "UNAVAILABLE" and retry_after is None:
        if "Connection refused" in details:
            details = (
                f"no server answers at {address}; start one with python -m "
                "tasks.serve, and wait for its line `ready:`"
            )
        else:
            details = f"no server answers at {address}: {details}"
    return TranscriptionError(details, code, retry_after)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        # A prefix proves nothing: 127.0.0.1.example is somebody's host.
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
