"""TensorFlow Serving's gRPC: predict, metadata, status, reload; and health.

`GrpcFront.methods` is the whole table of methods; `calls` asks for a credential
before any of them.
"""

# protobuf makes the attributes of its modules as they are imported.
# pyright: reportAttributeAccessIssue=false

import asyncio
from collections import abc
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from tasks.serving import errors, messages, server as server_lib
from tasks.serving.fronts import (
    access,
    access_log,
    intake as intake_lib,
    listening,
    model_messages,
    tensors,
    utterances,
)
from tasks.serving.fronts.grpc import calls

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"
_HEALTH = "/grpc.health.v1.Health/"
# Simultaneous RPCs, including those that are refused at once.
MAX_CONCURRENT_RPCS = 4096
MAX_METADATA_BYTES = 1 << 14
HEALTH_POLL_SECONDS = 0.1
_HEALTHS = {
    name: health_pb2.HealthCheckResponse(status=name)
    for name in ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
}


class GrpcFront:
    """Serves the gRPC methods on one address."""

    def __init__(
        self,
        server: server_lib.Server,
        access_control: access.Control,
        intake: intake_lib.Intake,
        log: access_log.AccessLog,
    ) -> None:
        self._server = server
        self._intake = intake
        self._grpc: aio.Server | None = None
        self._is_stopping = False
        self.methods = {
            f"{_PREDICTION}Predict": calls.Method(
                predict_pb2.PredictRequest,
                self._predict,
                check=lambda call: server.check_room(call.known_caller),
            ),
            f"{_PREDICTION}GetModelMetadata": calls.Method(
                get_model_metadata_pb2.GetModelMetadataRequest, self._metadata
            ),
            f"{_PREDICTION}Classify": calls.NOT_SERVED,
            f"{_PREDICTION}Regress": calls.NOT_SERVED,
            f"{_PREDICTION}MultiInference": calls.NOT_SERVED,
            f"{_MODEL}GetModelStatus": calls.Method(
                get_model_status_pb2.GetModelStatusRequest, self._status
            ),
            f"{_MODEL}HandleReloadConfigRequest": calls.Method(
                model_management_pb2.ReloadConfigRequest, self._reload
            ),
            f"{_HEALTH}Check": calls.Method(
                health_pb2.HealthCheckRequest,
                self._check,
                is_open=_is_whole_server,
            ),
            f"{_HEALTH}Watch": calls.Method(
                health_pb2.HealthCheckRequest,
                self._watch,
                is_stream=True,
                is_open=_is_whole_server,
            ),
        }
        self._dispatcher = calls.Dispatcher(
            self.methods, access_control, intake, log
        )

    async def start(
        self, address: listening.Address, tls: listening.Tls
    ) -> int:
        """Listens; returns the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        limit = self._intake.limits.max_request_bytes
        self._grpc = aio.server(
            handlers=(self._dispatcher,),
            maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS,
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.max_concurrent_streams", 1024),
                # Otherwise a second server could take half of the requests.
                ("grpc.so_reuseport", 0),
                # Identity and gzip, which comes in here as it was sent: gRPC
                # itself would inflate it without a bound.
                ("grpc.compression_enabled_algorithms_bitset", 1 | 1 << 2),
                ("grpc.per_message_decompression", 0),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 5),
                ("grpc.max_connection_idle_ms", 600_000),
            ],
        )
        credentials = tls.for_grpc()
        try:
            if credentials is None:
                port = self._grpc.add_insecure_port(str(address))
            else:
                port = self._grpc.add_secure_port(str(address), credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise OSError(f"gRPC cannot listen on {address}: is it in use?")
        await self._grpc.start()
        return port

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls; ends after those under way or the grace."""
        self._is_stopping = True
        if self._grpc is not None:
            await self._grpc.stop(grace_seconds)

    async def _predict(self, call: calls.Call, request: Any) -> Any:
        spec = model_messages.to_spec(request.model_spec)
        rows = await self._intake.parse(
            call.message_bytes,
            model_messages.to_utterances,
            request,
            calls.single(call.context, utterances.SUBMODEL_ID),
            self._intake.limits,
        )
        call.entry.set_utterances(rows)
        deadline = call.context.time_remaining()
        if deadline is not None:
            deadline += asyncio.get_running_loop().time()
        version, answers = await self._server.predict(
            call.known_caller, spec, rows, deadline
        )
        headers = utterances.served(answers)
        call.entry.served_by = headers.get("x-served-by", "mixed")
        call.headers.update(headers)
        return model_messages.predict_response(
            request, version, utterances.to_outputs(answers)
        )

    async def _metadata(self, call: calls.Call, request: Any) -> Any:
        # A few are enough for the message, out of perhaps a million.
        fields = list(request.metadata_field[:9])
        if fields != ["signature_def"]:
            raise errors.invalid_argument(
                "`metadata_field` must be ['signature_def']. Received: "
                f"{tensors.show_names(fields)}."
            )
        spec = model_messages.to_spec(request.model_spec)
        return model_messages.metadata_response(
            spec.name, *self._server.signature_metadata(spec)
        )

    async def _status(self, call: calls.Call, request: Any) -> Any:
        spec = model_messages.to_spec(request.model_spec)
        return model_messages.status_response(self._server.model_status(spec))

    async def _reload(self, call: calls.Call, request: Any) -> Any:
        call.known_caller.require_operator()
        await self._server.reload(model_messages.to_configs(request.config))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = errors.Code.OK.number
        return response

    async def _check(self, call: calls.Call, request: Any) -> Any:
        return self._health(request.service)

    async def _watch(
        self, call: calls.Call, request: Any
    ) -> abc.AsyncIterator[Any]:
        last = None
        while not self._is_stopping:
            try:
                answer = self._health(request.service)
            except errors.ServingError as error:
                if error.code is not errors.Code.NOT_FOUND:
                    raise
                # The protocol says so: the service may appear later.
                answer = _HEALTHS["SERVICE_UNKNOWN"]
            if answer != last:
                yield answer
            last = answer
            await asyncio.sleep(HEALTH_POLL_SECONDS)

    def _health(self, service: str) -> health_pb2.HealthCheckResponse:
        """The whole server's health, or a model's; NOT_FOUND if unknown."""
        is_ready = self._server.ready and not self._intake.is_leaving
        if service:
            self._server.model_status(messages.ModelSpec(service))
            is_ready = is_ready and self._server.model_ready(service)
        return _HEALTHS["SERVING" if is_ready else "NOT_SERVING"]


def _is_whole_server(request: health_pb2.HealthCheckRequest) -> bool:
    """Everyone may ask about the server, but not which models it has."""
    return not request.service
