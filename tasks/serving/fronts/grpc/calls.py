"""How a gRPC method is called: credential, message, answer, error, log line.

Every call goes through here, and its message is read only once the caller has
shown a credential; the table of methods says which ones are open.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections import abc
from typing import Any, NoReturn

import grpc
from google.protobuf import message
from grpc import aio

from tasks.serving import errors, messages
from tasks.serving.fronts import access, access_log, compression, intake

# Simultaneous calls of methods that need no credential: for all callers
# without one together, and for each tenant; streams are counted separately.
MAX_OPEN_CALLS = 64
# A caller without a credential has this long to send a message.
OPEN_SECONDS = 2.0
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclasses.dataclass(frozen=True)
class Method:
    """How an RPC is served, and which of its requests are open to everyone.

    Args:
        request: the message class.
        handle: coroutine function of (call, request) that gives the response,
            or an asynchronous generator of responses.
        is_stream: whether it responds more than once.
        is_open: whether a request needs no credential; None for a method that
            always needs one.
        check: may refuse a call before its message is read.
    """

    request: Any
    handle: abc.Callable[..., Any]
    is_stream: bool = False
    is_open: abc.Callable[[Any], bool] | None = None
    check: abc.Callable[["Call"], None] | None = None


@dataclasses.dataclass
class Call:
    """One RPC under way: its context, log entry and response metadata."""

    context: aio.ServicerContext
    entry: access_log.Entry
    headers: dict[str, str]
    # Of its message, inflated.
    message_bytes: int = 0

    @property
    def caller(self) -> messages.Caller | None:
        """None for a caller of an open method without a credential."""
        return self.entry.caller

    @property
    def known_caller(self) -> messages.Caller:
        """The caller of a method that always needs a credential."""
        if self.caller is None:
            raise errors.ServingError(
                errors.Code.UNAUTHENTICATED, "this method needs a credential"
            )
        return self.caller

    @property
    def tenant(self) -> str:
        """The caller's tenant; empty without a credential."""
        return self.caller.tenant if self.caller else ""


def _not_served(call: Call, request: object = None) -> NoReturn:
    raise errors.ServingError(
        errors.Code.UNIMPLEMENTED, "this server does not have that method"
    )


# For methods that clients know and that are not served here.
NOT_SERVED = Method(None, handle=_not_served, check=_not_served)


class Dispatcher(grpc.GenericRpcHandler):
    """Finds the method of a call and serves it.

    Args:
        methods: by their full names.
    """

    def __init__(
        self,
        methods: abc.Mapping[str, Method],
        access_control: access.Control,
        intake: intake.Intake,
        log: access_log.AccessLog,
    ) -> None:
        self._access = access_control
        self._intake = intake
        self._log = log
        self._open_calls: collections.Counter[tuple[str, bool]] = (
            collections.Counter()
        )
        self._handlers = {
            name: self._handler(name, method)
            for name, method in methods.items()
        }
        self._unknown = self._handler("unknown", NOT_SERVED)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        return self._handlers.get(handler_call_details.method, self._unknown)

    def _handler(self, name: str, method: Method) -> grpc.RpcMethodHandler:
        async def stream(
            requests: abc.AsyncIterable[bytes], context: aio.ServicerContext
        ) -> abc.AsyncIterator[bytes]:
            served = self._served(name, method, requests, context)
            async with served as (call, request):
                async for response in method.handle(call, request):
                    yield response.SerializeToString()

        async def unary(
            requests: abc.AsyncIterable[bytes], context: aio.ServicerContext
        ) -> bytes:
            served = self._served(name, method, requests, context)
            async with served as (call, request):
                response = await method.handle(call, request)
                context.set_trailing_metadata(tuple(call.headers.items()))
                return response.SerializeToString()

        # Both take a stream of requests, so that none is read ahead of its
        # caller's credential.
        if method.is_stream:
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.stream_unary_rpc_method_handler(unary)

    @contextlib.asynccontextmanager
    async def _served(
        self,
        name: str,
        method: Method,
        requests: abc.AsyncIterable[bytes],
        context: aio.ServicerContext,
    ) -> abc.AsyncIterator[tuple[Call, Any]]:
        """A call and its request; errors abort it, and its end is logged."""
        (traceparent, *_) = _values(context, "traceparent") or [None]
        entry = access_log.Entry("grpc", name, traceparent)
        call = Call(context, entry, dict(entry.answer_headers))
        error = None
        try:
            with contextlib.ExitStack() as held:
                if method.is_open is None:
                    self._authenticate(call)
                else:
                    # A caller with a credential is not counted with everyone.
                    with contextlib.suppress(errors.ServingError):
                        self._authenticate(call)
                    held.enter_context(self._open_call(call, method))
                reservation = self._intake.reservation(call.tenant)
                reserve = held.enter_context(reservation)
                if method.check is not None:
                    method.check(call)
                yield call, await self._read(call, method, requests, reserve)
        except asyncio.CancelledError:
            entry.code = errors.Code.CANCELLED
            raise
        except Exception as caught:
            error = access_log.as_serving_error(caught, entry)
        finally:
            self._log.write(entry)
        if error is not None:
            await _abort(context, error, call.headers)

    @contextlib.contextmanager
    def _open_call(self, call: Call, method: Method) -> abc.Iterator[None]:
        key = call.tenant, method.is_stream
        if self._open_calls[key] >= MAX_OPEN_CALLS:
            raise errors.resource_exhausted(
                "too many health checks at the same time",
                retry_after_seconds=1.0,
            )
        self._open_calls[key] += 1
        try:
            yield
        finally:
            self._open_calls[key] -= 1

    def _authenticate(self, call: Call) -> None:
        identity = call.context.auth_context()
        names = identity.get("x509_subject_alternative_name", ())
        call.entry.caller = self._access.authenticate(
            single(call.context, "authorization"),
            [name.decode("utf-8", "replace") for name in names],
        )

    async def _read(
        self,
        call: Call,
        method: Method,
        requests: abc.AsyncIterable[bytes],
        reserve: abc.Callable[[int], None],
    ) -> Any:
        """The request's message, once its sender may send one."""
        seconds = self._intake.limits.body_seconds
        if call.caller is None:
            seconds = min(seconds, OPEN_SECONDS)
        try:
            async with (
                asyncio.timeout(seconds),
                self._intake.reading(call.tenant),
            ):
                data = await anext(aiter(requests))
        except StopAsyncIteration:
            raise errors.invalid_argument(
                "the request has no message"
            ) from None
        except TimeoutError:
            raise errors.ServingError(
                errors.Code.DEADLINE_EXCEEDED,
                "the request's message did not arrive in time",
            ) from None
        call.entry.request_bytes = num_bytes = len(data)
        reserve(num_bytes)
        if call.caller is not None and compression.is_gzip(data):
            data = await self._intake.parse(
                None,
                compression.inflate,
                data,
                self._intake.limits.max_request_bytes,
            )
            reserve(max(0, len(data) - num_bytes))
        call.message_bytes = len(data)
        try:
            request = await self._intake.parse(
                len(data), method.request.FromString, data
            )
        except message.DecodeError:
            raise errors.invalid_argument(
                f"the message is no {method.request.DESCRIPTOR.full_name}"
            ) from None
        is_open = method.is_open is not None and method.is_open(request)
        if call.caller is None and not is_open:
            self._authenticate(call)
        return request


def single(context: aio.ServicerContext, key: str) -> str | None:
    """The value of a metadata key, or None; refuses one that is there twice."""
    values = _values(context, key)
    if len(values) > 1:
        raise errors.invalid_argument(f"the metadata have {key} twice")
    return values[0] if values else None


def _values(context: aio.ServicerContext, key: str) -> list[str]:
    return [
        value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in context.invocation_metadata() or ()
        if name == key
    ]


async def _abort(
    context: aio.ServicerContext,
    error: errors.ServingError,
    headers: abc.Mapping[str, str],
) -> None:
    trailers = dict(headers)
    if error.retry_after_seconds is not None:
        trailers["retry-after"] = f"{error.retry_after_seconds:g}"
        trailers["grpc-retry-pushback-ms"] = str(
            round(error.retry_after_seconds * 1000)
        )
    await context.abort(
        _CODES[error.code.number], error.message, tuple(trailers.items())
    )
