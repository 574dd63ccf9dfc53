"""The fronts on free ports of loopback, in a thread with a loop of its own."""

import asyncio
import dataclasses
import hashlib
import http.client
import json
import socket
import threading

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tasks.serving.fronts import access, access_log, intake, listening, service
from tasks.serving.fronts.grpc import servicers as grpc_servicers
from tasks.serving.fronts.http import listener
from tasks.serving.queueing import limits

TOKENS = {"anna": "a" * 32, "admin": "b" * 32, "other": "c" * 32}
LIMITS = limits.Limits(max_request_bytes=1 << 20, max_request_utterances=8)


PREDICT = "/v1/models/submodels:predict"
ROWS = {
    "instances": [
        {"audio": [1, 2, 3], "length": 2, "submodel_id": "anna"},
        {"audio": [4, 5, 6], "length": 3, "submodel_id": "anna"},
    ]
}


def access_control():
    """Anna's app and an administrator of one clinic, and another clinic."""
    entries = [
        {"tenant": "clinic", "speakers": ["anna"]},
        {"tenant": "clinic", "speakers": "*", "admin": True, "operator": True},
        {"tenant": "other", "speakers": "*", "admin": True},
    ]
    for (name, token), entry in zip(TOKENS.items(), entries, strict=True):
        entry["name"] = name
        entry["token_sha256"] = hashlib.sha256(token.encode()).hexdigest()
    return access.from_json(json.dumps({"credentials": entries}))


def bearer(name):
    """The authorization of one of `TOKENS`."""
    return f"Bearer {TOKENS[name]}"


ANNA = {"Authorization": bearer("anna")}
ADMIN = {"Authorization": bearer("admin")}


def predict_head(*lines):
    """The head of Anna's request, with more lines."""
    lines = [
        f"POST {PREDICT} HTTP/1.1",
        "Host: x",
        f"Authorization: {bearer('anna')}",
        *lines,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


def everything(connection, until=None):
    """The bytes up to the connection's end, or up to some last bytes."""
    data = b""
    while chunk := connection.recv(1 << 16):
        data += chunk
        if until is not None and data.endswith(until):
            break
    return data


class Fronts:
    """Runs all fronts of a server, as a context manager.

    Args:
        server: like `server.Server`.
        control: of `access`; open to everyone if None.
        tls: `listening.Tls`, or None.
        log_path: string, of the access log.
        arguments: limits, beside those of `limits`.

    Attributes:
        ports: dict of "grpc", "rest", "admin" to int.
    """

    def __init__(
        self, server, control=None, tls=None, log_path="", **arguments
    ):
        self.server = server
        control = control or access.NoAccessControl("house")
        bounds = arguments.pop("limits", LIMITS)
        self.intake = intake.Intake(dataclasses.replace(bounds, **arguments))
        self.log = access_log.AccessLog(log_path, b"k" * 16)
        self.tls = tls or listening.Tls()
        self.grpc = grpc_servicers.GrpcFront(
            server, control, self.intake, self.log
        )
        self.apps = service.applications(server, control, self.intake, self.log)
        self.ports = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listeners = []
        self._channels = []

    def run(self, coroutine):
        """The result of a coroutine on the fronts' loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(
            60
        )

    def __enter__(self):
        self._thread.start()
        self.run(self._start())
        return self

    async def _start(self):
        tls = self.tls
        address = listening.Address("127.0.0.1", 0)
        self.ports["grpc"] = await self.grpc.start(address, tls)
        for name, app in self.apps.items():
            running = listener.Listener(app, self.intake.limits.header_seconds)
            self.ports[name] = await running.start(address, tls)
            self._listeners.append(running)

    def __exit__(self, *exception):
        for channel in self._channels:
            channel.close()
        try:
            self.run(self._stop())
        finally:
            self._end()

    def _end(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
        self.intake.close()
        self.log.close()

    async def _stop(self):
        await asyncio.gather(
            self.grpc.stop(0.2), *(each.stop(1) for each in self._listeners)
        )

    def channel(self, **arguments):
        """A plain channel to the gRPC front."""
        channel = grpc.insecure_channel(
            f"127.0.0.1:{self.ports['grpc']}", **arguments
        )
        self._channels.append(channel)
        return channel

    def prediction(self):
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel())

    def model(self):
        return model_service_pb2_grpc.ModelServiceStub(self.channel())

    def http(self, method, path, body=None, headers=None, front="rest"):
        """(status, headers, body) of a request on a connection of its own.

        A body that is no bytes is sent as JSON, and JSON comes back parsed.
        """
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports[front], timeout=60
        )
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            data = response.read()
            if data and response.headers.get_content_type().endswith("json"):
                data = json.loads(data)
            return response.status, response.headers, data
        finally:
            connection.close()

    def predict(self, body=None, headers=None):
        """As `http`, of a predict request; Anna's `ROWS` unless said."""
        headers = ANNA if headers is None else headers
        return self.http("POST", PREDICT, body or ROWS, headers)

    def raw(self, data, front="rest"):
        """A connection to a front that has sent some bytes."""
        connection = socket.create_connection(
            ("127.0.0.1", self.ports[front]), timeout=60
        )
        connection.sendall(data.encode() if isinstance(data, str) else data)
        return connection
