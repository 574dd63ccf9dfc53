"""The guard in front of every HTTP route: credential, errors, access log.

It is closed by default: only `OPEN_PATHS` are answered without a credential.
The credential is checked before the body is read, and before the caller learns
whether there is such a route.
"""

import asyncio
import ipaddress
import itertools
import urllib.parse
from collections import abc

from starlette import datastructures, requests, routing, types

from tasks.serving import errors, messages
from tasks.serving.fronts import access, access_log, tensors
from tasks.serving.fronts.http import exchange as exchange_lib, responses

OPEN_PATHS = ("/live", "/ready")
# In `scope["state"]`: the subject alternative names of a client certificate
# that TLS has verified. The host of the application puts them there.
CERTIFICATE_NAMES = "client_certificate_names"
MAX_HEAD_BYTES = 1 << 14
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}


class Guard:
    """An ASGI application of routes behind access control, errors and log.

    An endpoint finds its caller in `request.user` (see `caller`) and its line
    of the access log in `request.state.entry`.

    Args:
        front: its name in the access log.
        routes: tried in this order.
    """

    def __init__(
        self,
        front: str,
        routes: abc.Sequence[routing.Route],
        access_control: access.Control,
        log: access_log.AccessLog,
    ) -> None:
        self.routes = list(routes)
        self._front = front
        self._access = access_control
        self._log = log

    async def __call__(
        self, scope: types.Scope, receive: types.Receive, send: types.Send
    ) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"nothing here speaks {scope['type']}")
        route = _find(self.routes, scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        pattern = "unknown" if route is None else route.path_format
        entry = access_log.Entry(
            self._front,
            f"{method} {pattern}",
            datastructures.Headers(scope=scope).get("traceparent"),
        )
        scope.setdefault("state", {})["entry"] = entry
        exchange = exchange_lib.Exchange(
            scope, receive, send, entry.answer_headers
        )
        try:
            await self._answer(route, scope, exchange, entry)
        except asyncio.CancelledError:
            entry.code = errors.Code.CANCELLED
            task = asyncio.current_task()
            if not exchange.client_left or task is None:
                raise
            task.uncancel()
        finally:
            entry.http = exchange.status
            self._log.write(entry)
            await exchange.finish()

    async def _answer(
        self,
        route: routing.Route | None,
        scope: types.Scope,
        exchange: exchange_lib.Exchange,
        entry: access_log.Entry,
    ) -> None:
        try:
            await self._serve(route, scope, exchange)
        except Exception as caught:
            error = access_log.as_serving_error(caught, entry)
            if exchange.status is not None:
                # A second response would read as the rest of the first.
                raise
            response = responses.from_error(error)
            await response(scope, exchange.receive, exchange.send)

    async def _serve(
        self,
        route: routing.Route | None,
        scope: types.Scope,
        exchange: exchange_lib.Exchange,
    ) -> None:
        request = requests.Request(scope)
        _check_head(request)
        if not self._access.is_on:
            _refuse_web_pages(request.headers)
        if route is None or route.path not in OPEN_PATHS:
            found = self._access.authenticate(
                single_header(request.headers, "Authorization"),
                scope["state"].get(CERTIFICATE_NAMES, ()),
            )
            scope["user"] = request.state.entry.caller = found
        expect = request.headers.get("expect", "100-continue")
        if expect.lower() != "100-continue":
            raise responses.HttpError(
                417,
                errors.Code.INVALID_ARGUMENT,
                "Expect must be 100-continue or absent",
            )
        if route is None:
            raise _nothing_there(self.routes, scope)
        await route.handle(scope, exchange.receive, exchange.send)


def caller(request: requests.Request) -> messages.Caller:
    """The sender of an authenticated request."""
    return request.user


def single_header(headers: datastructures.Headers, name: str) -> str | None:
    """The value of a header, or None; refuses one that is there twice."""
    values = headers.getlist(name)
    if len(values) > 1:
        raise errors.invalid_argument(f"the header {name} is there twice")
    return values[0] if values else None


async def _live(receive: types.Receive, send: types.Send) -> None:
    """Agrees to the host's start and end: whoever made the server owns both."""
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


def _find(
    routes: abc.Iterable[routing.Route], scope: types.Scope
) -> routing.Route | None:
    for route in routes:
        match, found = route.matches(scope)
        if match is routing.Match.FULL:
            scope.update(found)
            return route
    return None


def _check_head(request: requests.Request) -> None:
    """Refuses what HTTP parsers let through in a request's head."""
    scope, headers = request.scope, request.headers
    # A parser of HTTP/1 passes "2.0" on; a host that speaks HTTP/2 says "2".
    if scope["http_version"] not in ("1.0", "1.1", "2"):
        raise errors.invalid_argument(
            "the request must be HTTP/1.0 or HTTP/1.1"
        )
    length = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    length += sum(map(len, itertools.chain(*headers.raw)))
    if length > MAX_HEAD_BYTES:
        raise errors.invalid_argument(
            f"the request's head must have at most {MAX_HEAD_BYTES} bytes"
        )
    # Two servers that disagree about which one counts see different requests.
    if "transfer-encoding" in headers and "content-length" in headers:
        raise errors.invalid_argument(
            "Content-Length and Transfer-Encoding exclude each other"
        )


def _refuse_web_pages(headers: datastructures.Headers) -> None:
    """Keeps web pages in a browser on this machine out.

    Without access control, a page from anywhere could otherwise send requests
    to loopback, or read answers by giving loopback its own name.
    """
    try:
        url = urllib.parse.urlsplit(f"//{headers.get('host', '')}")
        host = url.hostname or ""
        is_ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_ours = False
    if "origin" in headers or not is_ours:
        raise errors.permission_denied(
            "without access control this server answers only requests to "
            "localhost or a loopback address, and none from a web page",
        )


def _nothing_there(
    routes: abc.Iterable[routing.Route], scope: types.Scope
) -> errors.ServingError:
    if scope["path"].startswith("/v1/"):
        methods: set[str] = set()
        for route in routes:
            if route.matches(scope)[0] is routing.Match.PARTIAL:
                methods |= route.methods or set()
        takes = ""
        if methods:
            takes = f"; it takes {' or '.join(sorted(methods - {'HEAD'}))}"
        # As TensorFlow Serving answers for an unknown path or method.
        return errors.invalid_argument(
            f"Malformed request: {scope['method'][:16]} "
            f"{tensors.show(scope['path'])}{takes}"
        )
    return errors.not_found("there is nothing at this path")
