"""A load generator: closed loops that saturate, open loops that do not wait."""

import asyncio
import dataclasses
import time

import grpc
from grpc import aio
from tensorflow_serving.apis import prediction_service_pb2_grpc

_MAX_MESSAGE_BYTES = 64 << 20
_PAUSE_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one request ended.

    Attributes:
        due: float, `time.monotonic` when it was to be sent; latency counts
            from here, so a late sender does not hide a slow server.
        seconds: float, from `due` to its end.
        code: str, gRPC's name of it.
        details: str, of an error.
        answers: list of (text bytes, score, submodel version, served by) of
            its utterances; empty after an error.
        model_version: int, 0 after an error.
        retry_after: str, that the server sent with an error; or "".
        tag: whatever the caller gave.
    """

    due: float
    seconds: float
    code: str
    details: str
    answers: list
    model_version: int
    retry_after: str
    tag: object

    @property
    def ok(self):
        return self.code == "OK"

    @property
    def ended(self):
        return self.due + self.seconds


class Client:
    """Sends requests over some connections to one server.

    Args:
        address: str, `host:port`.
        connections: int; one connection is a bottleneck of its own.
        timeout_seconds: float, of a request.
        metadata: tuple of (name, value).
    """

    def __init__(
        self, address, connections=4, timeout_seconds=60.0, metadata=()
    ):
        options = [
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            # Else channels of one process share a connection.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channels = [
            aio.insecure_channel(address, options) for _ in range(connections)
        ]
        self._stubs = [
            prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for channel in self._channels
        ]
        self._next = 0
        self._timeout_seconds = timeout_seconds
        self._metadata = metadata

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await self.close()

    async def close(self):
        for channel in self._channels:
            await channel.close()

    async def predict(self, request, tag=None, due=None):
        """Sends one request; gives an `Outcome`, whatever happens."""
        due = time.monotonic() if due is None else due
        stub = self._stubs[self._next % len(self._stubs)]
        self._next += 1
        try:
            response = await stub.Predict(
                request, timeout=self._timeout_seconds, metadata=self._metadata
            )
        except aio.AioRpcError as error:
            trailers = {
                key.lower(): value
                for key, value in error.trailing_metadata() or ()
            }
            return Outcome(
                due,
                time.monotonic() - due,
                error.code().name,
                error.details() or "",
                [],
                0,
                str(trailers.get("retry-after", "")),
                tag,
            )
        seconds = time.monotonic() - due
        return Outcome(
            due,
            seconds,
            grpc.StatusCode.OK.name,
            "",
            _answers(response),
            response.model_spec.version.value,
            "",
            tag,
        )


def _answers(response):
    outputs = response.outputs
    return list(
        zip(
            outputs["text"].string_val,
            outputs["score"].float_val,
            (each.decode() for each in outputs["submodel_version"].string_val),
            (each.decode() for each in outputs["served_by"].string_val),
            strict=True,
        )
    )


async def closed_loop(
    client, source, in_flight, count=None, seconds=None, stop=None
):
    """Keeps so many requests under way, and no more.

    Args:
        client: `Client`, or anything with its `predict`.
        source: iterator of (request, tag).
        in_flight: int.
        count: int, how many to send; None for no limit.
        seconds: float, after which no more are sent; None for no limit.
        stop: `asyncio.Event` after which no more are sent, or None.

    Returns:
        list of `Outcome`, in the order of their ends.
    """
    outcomes = []
    started = time.monotonic()
    sent = 0

    def goes_on():
        return (
            (count is None or sent < count)
            and (seconds is None or time.monotonic() - started < seconds)
            and not (stop is not None and stop.is_set())
        )

    async def worker():
        nonlocal sent
        while goes_on():
            sent += 1
            outcome = await client.predict(*next(source))
            outcomes.append(outcome)
            if not outcome.ok:
                # As a client would: not at once again.
                await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return outcomes


async def warm_up(client, source, count=48):
    """Lets a server do what it does once; its outcomes.

    A few at a time, as it refuses while its first calls take long.
    """
    first = await closed_loop(client, source, 1, count=2)
    check(first)
    return first + await closed_loop(client, source, 8, count=count)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A span of an open loop: `begun` and `ended` are its first and last due
    time, `outcomes` what became of its requests, `lateness` the longest that
    a request was sent after its time, which is the generator's own fault."""

    begun: float
    ended: float
    outcomes: list
    lateness: float


async def open_loop(client, source, *phases):
    """Sends at even rates, however the server does.

    Args:
        client: `Client`, or anything with its `predict`.
        source: iterator of (request, tag).
        *phases: tuples of (requests per second, seconds), one after another
            without a pause.

    Returns:
        list of `Phase`, once all requests have ended.
    """
    tasks, found = set(), []

    async def send(request, tag, due, outcomes):
        outcomes.append(await client.predict(request, tag, due))

    begun = time.monotonic()
    for per_second, seconds in phases:
        outcomes, lateness = [], 0.0
        for number in range(int(per_second * seconds)):
            due = begun + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            lateness = max(lateness, time.monotonic() - due)
            task = asyncio.create_task(send(*next(source), due, outcomes))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        found.append(Phase(begun, begun + seconds, outcomes, lateness))
        begun += seconds
    while tasks:
        await asyncio.wait(set(tasks))
    return found


def codes(outcomes):
    """Dict of code to how many."""
    found = {}
    for outcome in outcomes:
        found[outcome.code] = found.get(outcome.code, 0) + 1
    return found


def steady_rate(outcomes, skipped, count):
    """Answered requests per second, without the ramps at both ends.

    Answers come in bursts, one a batch; `count` should be a multiple of the
    batch, so that it does not matter where in a burst the counting begins.

    Args:
        outcomes: list of `Outcome` that are all good.
        skipped: int, how many ends to leave out at the beginning.
        count: int, how many to count.
    """
    ends = sorted(outcome.ended for outcome in outcomes)
    return count / (ends[skipped + count] - ends[skipped])


def goodput(outcomes, begun, ended):
    """Answered requests per second within a span of `time.monotonic`."""
    good = [o for o in outcomes if o.ok and begun <= o.ended < ended]
    return len(good) / (ended - begun)


def check(outcomes):
    """Raises a RuntimeError if any request failed."""
    bad = [outcome for outcome in outcomes if not outcome.ok]
    if bad:
        raise RuntimeError(
            f"{len(bad)} of {len(outcomes)} requests failed, the first with "
            f"{bad[0].code}: {bad[0].details}"
        )
