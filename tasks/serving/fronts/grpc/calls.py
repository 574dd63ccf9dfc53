"""How a gRPC method is called: credential, message, answer, error, log line.

Every method goes through here, and whoever calls has shown a credential
before the message is read; what is open is said in the table of methods.
"""

import asyncio
import collections
import contextlib
import dataclasses

import grpc
from absl import logging
from google.protobuf import message

from tasks.serving import errors
from tasks.serving.fronts import access_log, tensors

# Calls at the same time of methods that need no credential: of everyone
# without one together, and of each tenant; streams and others apart.
MAX_OPEN_CALLS = 64
# Who has shown no credential has this long to send a message.
OPEN_SECONDS = 2.0
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclasses.dataclass(frozen=True)
class Method:
    """An RPC: how it is served, and what of it is open to everyone.

    Args:
        request: the message class; None for a method that is not served.
        handle: coroutine function of (call, request) that gives the answer,
            or an asynchronous generator of answers.
        is_stream: bool, whether it answers more than once.
        is_open: function of the request that tells whether it needs no
            credential; None for a method that always needs one.
        check: function of the call, which may refuse it before its message
            is read; None for none.
    """

    request: type | None
    handle: object
    is_stream: bool = False
    is_open: object = None
    check: object = None


# For methods that clients know and that are not served here.
NOT_SERVED = Method(None, None)


@dataclasses.dataclass
class Call:
    """One RPC under way: its context, caller, log entry and answer headers."""

    context: object
    entry: access_log.Entry
    headers: dict
    caller: object = None

    @property
    def tenant(self):
        """The caller's; "" for who has shown no credential."""
        return self.caller.tenant if self.caller else ""


class Dispatcher(grpc.GenericRpcHandler):
    """Finds the method of a call and serves it.

    Args:
        methods: dict of a method's full name to `Method`.
        access_control: of `access`.
        intake: `intake.Intake`.
        log: `access_log.AccessLog`.
    """

    def __init__(self, methods, access_control, intake, log):
        self._access = access_control
        self._intake = intake
        self._log = log
        self._open_calls = collections.Counter()
        self._handlers = {
            name: self._handler(name, method)
            for name, method in methods.items()
        }
        self._unknown = self._handler("unknown", NOT_SERVED)

    def service(self, handler_call_details):
        return self._handlers.get(handler_call_details.method, self._unknown)

    def _handler(self, name, method):
        """As streams of requests: so nothing is read before it is wanted."""
        if method.is_stream:

            async def stream(requests, context):
                async for answer in self._stream(
                    name, method, requests, context
                ):
                    yield answer

            return grpc.stream_stream_rpc_method_handler(stream)

        async def unary(requests, context):
            return await self._unary(name, method, requests, context)

        return grpc.stream_unary_rpc_method_handler(unary)

    async def _unary(self, name, method, requests, context):
        call = self._call(name, context)
        error = None
        try:
            with self._reservation(call, method) as reserve:
                if method.check is not None:
                    method.check(call)
                request = await self._read(call, method, requests, reserve)
                answer = await method.handle(call, request)
            context.set_trailing_metadata(tuple(call.headers.items()))
            return answer.SerializeToString()
        except asyncio.CancelledError:
            call.entry.code = errors.Code.CANCELLED
            raise
        except Exception as caught:
            error = _as_serving_error(caught, call.entry)
        finally:
            self._log.write(call.entry)
        await _abort(context, error, call.headers)

    async def _stream(self, name, method, requests, context):
        call = self._call(name, context)
        error = None
        try:
            with self._reservation(call, method) as reserve:
                request = await self._read(call, method, requests, reserve)
                async for answer in method.handle(call, request):
                    yield answer.SerializeToString()
        except asyncio.CancelledError:
            call.entry.code = errors.Code.CANCELLED
            raise
        except Exception as caught:
            error = _as_serving_error(caught, call.entry)
        finally:
            self._log.write(call.entry)
        if error is not None:
            await _abort(context, error, call.headers)

    def _call(self, name, context):
        traceparent = _values(context, "traceparent")
        entry = access_log.Entry("grpc", name, *traceparent[:1])
        return Call(context, entry, dict(entry.answer_headers))

    @contextlib.contextmanager
    def _reservation(self, call, method):
        """Asks for a credential, and counts what the request will hold."""
        with contextlib.ExitStack() as stack:
            if method.is_open is None:
                self._authenticate(call)
            else:
                # One is welcome: who shows it is not counted with everyone.
                with contextlib.suppress(errors.ServingError):
                    self._authenticate(call)
                stack.enter_context(self._open_call(call, method))
            yield stack.enter_context(self._intake.reservation(call.tenant))

    @contextlib.contextmanager
    def _open_call(self, call, method):
        key = call.tenant, method.is_stream
        if self._open_calls[key] >= MAX_OPEN_CALLS:
            raise errors.ServingError(
                errors.Code.RESOURCE_EXHAUSTED,
                "too many health checks at the same time",
                retry_after_seconds=1.0,
            )
        self._open_calls[key] += 1
        try:
            yield
        finally:
            self._open_calls[key] -= 1

    def _authenticate(self, call):
        names = call.context.auth_context().get(
            "x509_subject_alternative_name", ()
        )
        authorization = single(call.context, "authorization")
        call.caller = self._access.authenticate(
            authorization, [name.decode("utf-8", "replace") for name in names]
        )
        call.entry.caller = call.caller

    async def _read(self, call, method, requests, reserve):
        """The request's message, once its sender may send one."""
        if method.request is None:
            raise errors.ServingError(
                errors.Code.UNIMPLEMENTED,
                "this server does not have that method",
            )
        seconds = self._intake.body_seconds
        if call.caller is None:
            seconds = min(seconds, OPEN_SECONDS)
        try:
            async with (
                asyncio.timeout(seconds),
                self._intake.reading(call.tenant),
            ):
                data = await anext(aiter(requests))
        except StopAsyncIteration:
            raise tensors.invalid("the request has no message") from None
        except TimeoutError:
            raise errors.ServingError(
                errors.Code.DEADLINE_EXCEEDED,
                "the request's message did not arrive in time",
            ) from None
        call.entry.request_bytes = len(data)
        reserve(len(data))
        try:
            request = await self._intake.parse(
                len(data), method.request.FromString, data
            )
        except message.DecodeError:
            raise tensors.invalid(
                f"the message is no {method.request.DESCRIPTOR.full_name}"
            ) from None
        if call.caller is None and not method.is_open(request):
            self._authenticate(call)
        return request


def _values(context, key):
    return [
        value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in context.invocation_metadata() or ()
        if name == key
    ]


def single(context, key):
    """The value of a metadata key, or None.

    Raises:
        status.ServingError: INVALID_ARGUMENT, it is there twice.
    """
    values = _values(context, key)
    if len(values) > 1:
        raise tensors.invalid(f"the metadata have {key} twice")
    return values[0] if values else None


def _as_serving_error(error, entry):
    """The error to answer with; what is ours to mend goes to our own log."""
    if not isinstance(error, errors.ServingError):
        logging.error("%s failed", entry.method, exc_info=error)
        error = errors.ServingError(
            errors.Code.INTERNAL, "the server failed; its log says why"
        )
    entry.code = error.code
    return error


async def _abort(context, error, headers):
    trailers = dict(headers)
    if error.retry_after_seconds is not None:
        trailers["retry-after"] = f"{error.retry_after_seconds:g}"
        trailers["grpc-retry-pushback-ms"] = str(
            round(error.retry_after_seconds * 1000)
        )
    await context.abort(
        _CODES[error.code.number], error.message, tuple(trailers.items())
    )
