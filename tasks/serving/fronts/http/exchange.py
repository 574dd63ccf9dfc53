"""One HTTP request and its response, as ASGI messages pass by."""

import asyncio
import contextlib

from starlette import datastructures, types

# A client that is still sending a refused body gets this long to read the
# response: closing at once would reset the connection under it.
LINGERING_SECONDS = 2.0


class Exchange:
    """Wraps ASGI's `receive` and `send` of one request, in its own task.

    A request whose client goes away is cancelled. A body that nobody read
    ends the connection, once the client has had time to read the response.

    Args:
        headers: of the response, besides those that its endpoint gives.
    """

    def __init__(
        self,
        scope: types.Scope,
        receive: types.Receive,
        send: types.Send,
        headers: dict[str, str],
    ) -> None:
        self._receive = receive
        self._send = send
        self._headers = headers
        sent = datastructures.Headers(scope=scope)
        self._has_unread_body = (
            "transfer-encoding" in sent
            or sent.get("content-length", "0") != "0"
        )
        self._is_body_told = False
        self._is_lingering = False
        self._watcher: asyncio.Task[None] | None = None
        self._has_left = asyncio.Event()
        self.status: int | None = None
        if not self._has_unread_body:
            self._watch()

    @property
    def client_left(self) -> bool:
        """Whether the client closed the connection before the response."""
        return self._has_left.is_set()

    async def receive(self) -> types.Message:
        if self._has_unread_body:
            message = await self._receive()
            if not message.get("more_body", False):
                self._has_unread_body = False
                self._is_body_told = True
                self._watch()
            return message
        if not self._is_body_told:
            self._is_body_told = True
            return {"type": "http.request"}
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: types.Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = datastructures.MutableHeaders(scope=message)
            headers.update(self._headers)
            if self._has_unread_body:
                headers["Connection"] = "close"
        elif not message.get("more_body", False):
            # A server tells of the response's end as of a client's leave.
            self._stop_watching()
            if self._has_unread_body:
                self._is_lingering = True
                message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Ends the response; a body that is still coming is dropped."""
        self._stop_watching()
        if not self._is_lingering:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGERING_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass
        await self._send({"type": "http.response.body"})

    def _watch(self) -> None:
        handler = asyncio.current_task()

        async def cancel_when_client_leaves() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self._has_left.set()
            if handler is not None:
                handler.cancel()

        self._watcher = asyncio.create_task(cancel_when_client_leaves())

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
