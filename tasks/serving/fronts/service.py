"""A server with its fronts, from listening to the last answer."""

import asyncio
import os
import resource
import signal
import sys

from absl import logging

from tasks.serving.fronts import admin, listening
from tasks.serving.fronts.grpc import servicers as grpc_servicers
from tasks.serving.fronts.rest import calls as rest_calls
from tasks.serving.fronts.rest import routes as rest_routes

FRONTS = ("grpc", "rest", "admin")
# For answers that are written already to reach their clients.
_FLUSH_SECONDS = 5.0


def applications(server, access_control, intake, log):
    """The HTTP applications of a server, by front; see `http_calls`."""
    return {
        front: rest_calls.application(front, each.routes, access_control, log)
        for front, each in (
            ("rest", rest_routes.RestFront(server, intake)),
            ("admin", admin.AdminFront(server, intake)),
        )
    }


class Service:
    """Starts a server and its fronts, and ends them without losing a request.

    Args:
        server: `server.Server`.
        access_control: of `access`.
        intake: `intake.Intake`.
        log: `access_log.AccessLog`.
        tls: `listening.Tls`, of every front.
    """

    def __init__(self, server, access_control, intake, log, tls):
        self._server = server
        self._intake = intake
        self._log = log
        self._tls = tls
        self._grpc = grpc_servicers.GrpcFront(
            server, access_control, intake, log
        )
        self._listeners = {
            front: rest_calls.Listener(app, intake, _FLUSH_SECONDS)
            for front, app in applications(
                server, access_control, intake, log
            ).items()
        }

    async def start(self, addresses):
        """Loads the models, then listens.

        Args:
            addresses: dict of front to `listening.Address`, or to None where
                it shall not listen.

        Returns:
            dict of front to the `Address` with its real port.

        Raises:
            OSError: an address cannot be listened on.
            status.ServingError: a model has no version that loads.
        """
        try:
            await self._server.start()
            return await self._listen(addresses)
        except BaseException:
            await self.close()
            raise

    async def _listen(self, addresses):
        bound = {}
        for front, address in addresses.items():
            if address is None:
                continue
            if front == "grpc":
                port = await self._grpc.start(
                    str(address), self._tls.for_grpc()
                )
            else:
                port = await self._listeners[front].start(
                    address.host, address.port, self._tls.for_http()
                )
            bound[front] = listening.Address(address.host, port)
        return bound

    async def run(self, asked, lame_duck_seconds, drain_seconds):
        """Waits for a signal, and then drains.

        Args:
            asked: of `asked_to_stop`.
            lame_duck_seconds: float, between readiness off and the first
                refusal, for balancers to notice; not after SIGINT.
            drain_seconds: float, for what was admitted.

        Returns:
            Whether everything admitted was answered in time.
        """
        number = await asked
        print("draining; again to stop at once", file=sys.stderr, flush=True)
        if number == signal.SIGINT:
            lame_duck_seconds = 0
        return await self.drain(lame_duck_seconds, drain_seconds)

    async def drain(self, lame_duck_seconds, drain_seconds):
        """Ends it in order; see `run`."""
        self._intake.is_leaving = True
        await asyncio.sleep(lame_duck_seconds)
        is_drained = True
        try:
            async with asyncio.timeout(drain_seconds):
                await self._server.drain()
        except TimeoutError:
            is_drained = False
            logging.error(
                "requests are unanswered after %g s of draining", drain_seconds
            )
            # They are told so, instead of losing their connection.
            await self._server.close()
        await self.close()
        return is_drained

    async def close(self):
        """Ends everything, now."""
        await asyncio.gather(
            self._grpc.stop(_FLUSH_SECONDS),
            *(listener.stop() for listener in self._listeners.values()),
        )
        await self._server.close()
        self._intake.close()
        self._log.close()


def asked_to_stop():
    """A future of the first SIGTERM or SIGINT; a second one ends the process.

    To be called on the loop.
    """
    loop = asyncio.get_running_loop()
    asked = loop.create_future()

    def on_signal(number):
        if asked.done():
            print("stopping at once", file=sys.stderr, flush=True)
            # Not by way of Python: a thread that hangs would hold it up.
            os._exit(128 + number)
        asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return asked


def raise_file_limit():
    """Lets this process have as many connections as it may.

    A thousand slow clients would else use up the usual limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
