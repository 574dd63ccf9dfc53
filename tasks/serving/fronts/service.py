"""A server with its fronts, from listening to the last answer."""

import asyncio
import os
import resource
import signal
import sys
from collections import abc

from absl import logging

from tasks.serving import errors, server as server_lib
from tasks.serving.fronts import (
    access,
    access_log,
    admin,
    intake as intake_lib,
    listening,
)
from tasks.serving.fronts.grpc import servicers
from tasks.serving.fronts.http import guard, listener
from tasks.serving.fronts.rest import routes as rest_routes
from tasks.serving.queueing import limits as limits_lib

# For answers that are written already to reach their clients.
FLUSH_SECONDS = 5


def applications(
    server: server_lib.Server,
    access_control: access.Control,
    intake: intake_lib.Intake,
    log: access_log.AccessLog,
) -> dict[str, guard.Guard]:
    """The ASGI applications of a server, by front."""
    return {
        front: guard.Guard(
            front, module.routes(server, intake), access_control, log
        )
        for front, module in (("rest", rest_routes), ("admin", admin))
    }


class Service:
    """Starts a server and its fronts; ends them without losing a request."""

    def __init__(
        self,
        server: server_lib.Server,
        access_control: access.Control,
        limits: limits_lib.Limits,
        log: access_log.AccessLog,
        tls: listening.Tls,
    ) -> None:
        self._server = server
        self._intake = intake = intake_lib.Intake(limits)
        self._log = log
        self._tls = tls
        server.watch(
            "access_log_dropped",
            "Lines that a slow disk had no time for.",
            lambda: log.dropped,
        )
        self._fronts: dict[str, servicers.GrpcFront | listener.Listener] = {
            "grpc": servicers.GrpcFront(server, access_control, intake, log)
        }
        apps = applications(server, access_control, intake, log)
        for front, app in apps.items():
            self._fronts[front] = listener.Listener(app, limits.header_seconds)

    async def serve(
        self,
        addresses: abc.Mapping[str, listening.Address | None],
        lame_duck_seconds: float,
        drain_seconds: float,
    ) -> bool:
        """Starts, serves until a signal comes, and drains.

        Args:
            addresses: of `start`.
            lame_duck_seconds: between readiness off and the first refusal, for
                balancers to notice; 0 after SIGINT.
            drain_seconds: for admitted requests.

        Returns:
            Whether every admitted request was answered in time.

        Raises:
            ValueError: a model has no version that loads.
            OSError: an address cannot be listened on.
        """
        # A thousand slow clients would otherwise use up the usual limit.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        try:
            bound = await self.start(addresses)
        except errors.ServingError as error:
            raise ValueError(error.message) from None
        # Before anyone reads that the server is ready, and stops it.
        asked = asked_to_stop()
        where = " ".join(f"{front}={each}" for front, each in bound.items())
        print(f"ready: {where}", flush=True)
        number = await asked
        print("draining; again to stop at once", file=sys.stderr, flush=True)
        if number == signal.SIGINT:
            lame_duck_seconds = 0
        is_drained = await self.drain(lame_duck_seconds, drain_seconds)
        if is_drained:
            print(
                "stopped: every request that was let in was answered",
                file=sys.stderr,
                flush=True,
            )
        return is_drained

    async def start(
        self, addresses: abc.Mapping[str, listening.Address | None]
    ) -> dict[str, listening.Address]:
        """Loads the models, then listens.

        Args:
            addresses: by front; None where it does not listen.

        Returns:
            The addresses with their real ports.

        Raises:
            OSError: an address cannot be listened on.
            errors.ServingError: a model has no version that loads.
        """
        bound = {}
        try:
            await self._server.start()
            for front, address in addresses.items():
                if address is not None:
                    port = await self._fronts[front].start(address, self._tls)
                    bound[front] = listening.Address(address.host, port)
        except BaseException:
            await self.close()
            raise
        return bound

    async def drain(
        self, lame_duck_seconds: float, drain_seconds: float
    ) -> bool:
        """Ends the service in order; see `serve`."""
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
            # Their clients get an error instead of a lost connection.
            await self._server.close()
        await self.close()
        return is_drained

    async def close(self) -> None:
        """Ends everything at once."""
        await asyncio.gather(
            *(each.stop(FLUSH_SECONDS) for each in self._fronts.values())
        )
        await self._server.close()
        self._intake.close()
        self._log.close()


def asked_to_stop() -> asyncio.Future[int]:
    """A future of the first SIGTERM or SIGINT; the second ends the process."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if asked.done():
            print("stopping at once", file=sys.stderr, flush=True)
            # Python's own way out would wait for a thread that hangs.
            os._exit(128 + number)
        asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return asked
