"""How an HTTP route is called: credential, body, answer, error, log line.

`application` puts every route behind one middleware that is closed by
default: only `OPEN_ROUTES` are answered without a credential, before the
body is read and before it is known whether there is such a route.
"""

import asyncio
import contextvars
import dataclasses
import ipaddress
import math
import resource
import urllib.parse

import aiohttp
from absl import logging
from aiohttp import web

from tasks.serving import errors as status
from tasks.serving.fronts import access_log, intake, tensors
from tasks.serving.fronts.rest import tensor_json

OPEN_ROUTES = ("/live", "/ready")
# aiohttp serves each request in a task, and so in a context, of its own.
_CALL = contextvars.ContextVar("call")
# What a request's Expect says, which aiohttp is not to answer.
_EXPECTED = web.RequestKey("expected", str)
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}
# After an error, time for the client to read it before the connection ends.
_LINGERING_SECONDS = 2.0


class HttpError(status.ServingError):
    """An error of HTTP itself, with a status that gRPC has no code for."""

    def __init__(self, http, code, message):
        super().__init__(code, message)
        self.http = http


@dataclasses.dataclass
class Call:
    """One request under way: its caller, log entry and answer headers."""

    request: web.Request
    entry: access_log.Entry
    headers: dict
    caller: object = None


def application(front, routes, access_control, log):
    """An application of routes behind access control, errors and log.

    Args:
        front: string, the name in the access log.
        routes: list of `web.RouteDef` whose handlers take a `Call`.
        access_control: of `access`.
        log: `access_log.AccessLog`.
    """
    gate = _Gate(front, access_control, log)
    app = web.Application(middlewares=[gate.middleware])
    app.add_routes(
        web.RouteDef(
            each.method, each.path, _with_call(each.handler), each.kwargs
        )
        for each in routes
    )
    return app


class Listener:
    """An application on one address.

    Args:
        app: of `application`.
        intake: `intake.Intake`.
        grace_seconds: float, that `stop` leaves to what runs.
    """

    def __init__(self, app, intake, grace_seconds):
        self._runner = _Runner(
            app,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            # The time from one answer to the end of the next head: so a
            # head that trickles in is cut off too.
            keepalive_timeout=intake.header_seconds,
            lingering_time=_LINGERING_SECONDS,
            shutdown_timeout=grace_seconds,
            max_line_size=8190,
            max_field_size=8190,
        )

    async def start(self, host, port, tls=None):
        """Listens; returns the port.

        Args:
            host: string.
            port: int, 0 for any that is free.
            tls: `ssl.SSLContext`, or None.

        Raises:
            OSError: the address cannot be listened on.
        """
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, host, port, ssl_context=tls, reuse_port=False
        )
        await site.start()
        return self._runner.addresses[0][1]

    async def stop(self):
        """Accepts no connection; ends after what runs, or the grace."""
        await self._runner.cleanup()


async def read_body(call, reserve, limits, seconds):
    """A request's body, inflated only later.

    Args:
        call: `Call`.
        reserve: of `intake.Intake.reservation`.
        limits: `limits.Limits`.
        seconds: float, after which a sender is cut off.

    Raises:
        status.ServingError: too long (413), too slow (408), or too much is
            being read already.
    """
    content = call.request.content
    if (call.request.content_length or 0) > limits.max_request_bytes:
        raise _too_large(limits)
    if call.request.get(_EXPECTED):
        await call.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The answer itself has not begun.
        call.request.writer.output_size = 0
    chunks = []
    try:
        async with asyncio.timeout(seconds):
            async for chunk in content.iter_any():
                call.entry.request_bytes += len(chunk)
                if call.entry.request_bytes > limits.max_request_bytes:
                    raise _too_large(limits)
                reserve(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise HttpError(
            408,
            status.Code.DEADLINE_EXCEEDED,
            f"the body did not arrive within {seconds:g} s",
        ) from None
    except web.RequestPayloadError:
        raise tensors.invalid("the body is not what its head says") from None
    except ConnectionError:
        raise status.ServingError(
            status.Code.CANCELLED, "the client went away"
        ) from None
    return b"".join(chunks)


def is_plain(encoding):
    """Whether a Content-Encoding leaves a body as it is."""
    return encoding.strip().lower() in ("", "identity")


def decoded(body, encoding, max_bytes):
    """A body without its Content-Encoding.

    Raises:
        status.ServingError: INVALID_ARGUMENT, see `intake.inflate`.
    """
    if is_plain(encoding):
        return body
    encoding = encoding.strip().lower()
    if encoding == "gzip":
        return intake.inflate(body, max_bytes)
    raise tensors.invalid(
        "Content-Encoding must be gzip or absent. Received: "
        f"{tensor_json.show(encoding)}."
    )


def header(request, name):
    """The value of a header, or None.

    Raises:
        status.ServingError: INVALID_ARGUMENT, it is there twice.
    """
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise tensors.invalid(f"the header {name} is there twice")
    return values[0] if values else None


def json_response(body, http=200, headers=None):
    """A response of JSON bytes."""
    return web.Response(
        body=body,
        status=http,
        headers=headers,
        content_type="application/json",
    )


class _Runner(web.AppRunner):
    """Answers what is not HTTP in our words, and in few.

    aiohttp answers it before any middleware, with all that it could not read.
    """

    async def _make_server(self):
        server = await super()._make_server()
        server.__class__ = _Server
        server.request_factory = _without_expect(server.request_factory)
        return server


def _without_expect(make_request):
    """Makes requests without their Expect header, noted beside them.

    aiohttp answers it before any middleware: the body would be asked for, or
    417 be said, before anyone looked at the credential.
    """

    def make(message, *rest):
        expected = message.headers.get("Expect", "")
        if expected:
            headers = message.headers.copy()
            del headers["Expect"]
            message = message._replace(headers=type(message.headers)(headers))
        request = make_request(message, *rest)
        if expected and message.version >= aiohttp.HttpVersion11:
            request[_EXPECTED] = expected.strip().lower()
        return request

    return make


class _Server(web.Server):
    def __call__(self):
        return _Protocol(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler, transport):
        super().connection_made(handler, transport)
        # Of what the process may have open: the store and the other ports
        # need some too. With TLS it is told only after the handshake.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
        if len(self.connections) > most:
            transport.abort()


class _Protocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(self, request, status=500, exc=None, message=None):
        if status >= 500:
            logging.error("HTTP failed", exc_info=exc)
        if request.writer.output_size > 0:
            # A second answer would be taken for the rest of the first.
            raise ConnectionError("an answer was begun already")
        text = "the request is not HTTP" if status < 500 else "it failed"
        response = json_response(tensor_json.encode_error(text), status)
        response.force_close()
        return response


class _Gate:
    """The middleware; see the module."""

    def __init__(self, front, access_control, log):
        self._front = front
        self._access = access_control
        self._log = log

    @web.middleware
    async def middleware(self, request, handler):
        resource = request.match_info.route.resource
        pattern = "unknown" if resource is None else resource.canonical
        method = request.method if request.method in _METHODS else "OTHER"
        entry = access_log.Entry(
            self._front,
            f"{method} {pattern}",
            request.headers.get("traceparent"),
        )
        call = Call(request, entry, dict(entry.answer_headers))
        _CALL.set(call)
        try:
            if not self._access.is_on:
                _refuse_pages(request)
            if pattern not in OPEN_ROUTES:
                self._authenticate(call)
            if request.get(_EXPECTED, "") not in ("", "100-continue"):
                raise HttpError(
                    417,
                    status.Code.INVALID_ARGUMENT,
                    "Expect must be 100-continue or absent",
                )
            response = await handler(request)
        except asyncio.CancelledError:
            entry.code = status.Code.CANCELLED
            self._log.write(entry)
            raise
        except Exception as caught:
            response = _error_response(request, _as_serving_error(caught, call))
        response.headers.update(call.headers)
        if not request.content.is_eof():
            response.force_close()
        entry.http = response.status
        self._log.write(entry)
        return response

    def _authenticate(self, call):
        certificate = call.request.get_extra_info("peercert") or {}
        names = [value for _, value in certificate.get("subjectAltName", ())]
        call.caller = self._access.authenticate(
            header(call.request, "Authorization"), names
        )
        call.entry.caller = call.caller


def _refuse_pages(request):
    """Keeps the pages in a browser on this machine out.

    Without access control a page from anywhere could else send requests to
    loopback, or read answers by giving loopback its own name.
    """
    try:
        host = urllib.parse.urlsplit(f"//{request.host}").hostname or ""
        is_ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_ours = False
    if "Origin" in request.headers or not is_ours:
        raise status.ServingError(
            status.Code.PERMISSION_DENIED,
            "without access control this server answers no web page, and "
            "requests to localhost or a loopback address alone",
        )


def _with_call(handler):
    async def handle(request):
        del request
        return await handler(_CALL.get())

    return handle


def _as_serving_error(error, call):
    """The error to answer with; what is ours to mend goes to our own log."""
    request = call.request
    if isinstance(error, web.HTTPNotFound | web.HTTPMethodNotAllowed):
        if request.path.startswith("/v1/"):
            # As TensorFlow Serving answers for a path or a method.
            error = tensors.invalid(
                f"Malformed request: {request.method[:16]} "
                f"{tensor_json.show(request.path)}"
            )
        else:
            error = status.ServingError(
                status.Code.NOT_FOUND, "there is nothing at this path"
            )
    elif not isinstance(error, status.ServingError):
        logging.error("%s failed", call.entry.method, exc_info=error)
        error = status.ServingError(
            status.Code.INTERNAL, "the server failed; its log says why"
        )
    call.entry.code = error.code
    return error


def _error_response(request, error):
    headers = {}
    if error.retry_after_seconds is not None:
        # Whole seconds, and never none: the header has no others.
        seconds = max(1, math.ceil(error.retry_after_seconds))
        headers["Retry-After"] = str(seconds)
    if error.code is status.Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    http = getattr(error, "http", error.code.http)
    return json_response(tensor_json.encode_error(error.message), http, headers)


def _too_large(limits):
    return HttpError(
        413,
        status.Code.RESOURCE_EXHAUSTED,
        f"the body must have at most {limits.max_request_bytes} bytes",
    )
