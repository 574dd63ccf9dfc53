"""An ASGI application on an address, hosted by uvicorn."""

import asyncio
import contextlib
import errno
import resource
import socket
from collections import abc

import uvicorn
from starlette import types
from uvicorn.protocols.http import h11_impl

from tasks.serving.fronts import listening
from tasks.serving.fronts.http import guard

# A name such as localhost may have an IPv6 address where there is no IPv6.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_NOT_HTTP = b'{"error": "the request is not HTTP"}'
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_NOT_HTTP), _NOT_HTTP)
)


class Listener:
    """Serves an application until it is stopped.

    Args:
        header_seconds: from a connection's start or one response to the end
            of the next request's head.
    """

    def __init__(self, app: types.ASGIApp, header_seconds: int) -> None:
        self._app = app
        self._header_seconds = header_seconds
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(
        self, address: listening.Address, tls: listening.Tls
    ) -> int:
        """Listens; returns the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        context = tls.for_http()
        sockets = _listen(address.host, address.port)
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=self._header_seconds,
            h11_max_incomplete_event_size=guard.MAX_HEAD_BYTES,
            ssl_context_factory=(lambda *_: context) if context else None,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets))
        return sockets[0].getsockname()[1]

    async def stop(self, grace_seconds: int) -> None:
        """Accepts no connection; ends after requests under way or the grace."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = grace_seconds
        self._server.should_exit = True
        await self._serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> abc.Iterator[None]:
        """Leaves signals to whoever runs all fronts together."""
        yield


class _Protocol(h11_impl.H11Protocol):
    """Adds what uvicorn has no setting for.

    A bound on the time for a head and on connections, the names in a client's
    certificate, and JSON for what is not HTTP.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # The store and the other ports need file descriptors, too. With TLS,
        # a connection shows up here only after its handshake.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
        if len(self.connections) > most:
            transport.abort()
            return
        certificate = transport.get_extra_info("peercert")
        if certificate:
            names = [name for _, name in certificate.get("subjectAltName", ())]
            self.app_state = {**self.app_state, guard.CERTIFICATE_NAMES: names}
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._time_head()

    def send_400_response(self, msg: str) -> None:
        is_answering = self.cycle is not None and self.cycle.response_started
        if not is_answering or self.cycle.response_complete:
            self.transport.write(_BAD_REQUEST)
        self.transport.close()

    def _time_head(self) -> None:
        """Runs one timer from idle to the next whole head.

        uvicorn's own starts after a response only, and ends with the first
        byte: a head that trickles in would hold its connection for good.
        """
        is_idle = self.cycle is None or self.cycle.response_complete
        if not is_idle or self.transport.is_closing():
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def check_free(front: str, address: listening.Address) -> None:
    """Raises an OSError that names the front if it cannot listen there."""
    try:
        sockets = _listen(address.host, address.port)
    except OSError as error:
        raise OSError(
            f"--{front}_address: cannot listen on {address}: "
            f"{error.strerror or error}"
        ) from None
    for each in sockets:
        each.close()


def _listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of a host, all on the same port."""
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    absent = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            at = sockets[0].getsockname()[1] if sockets else port
            address = (address[0], at, *address[2:])
            try:
                made = socket.create_server(address, family=family)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            sockets.append(made)
            # asyncio asks this only of sockets that name TCP as their protocol.
            # Without it, the second packet of a response waits for the
            # client's delayed acknowledgement of the first, some 40 ms.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        for each in sockets:
            each.close()
        raise
    if absent is not None and not sockets:
        raise absent
    return sockets
