"""Cases sent to a running server: gRPC messages, REST bodies, raw HTTP."""

import asyncio

import httpx
from google.protobuf import message
from grpc import aio
from tensorflow_serving.apis import predict_pb2

from tests.benchmarks.serving import requests
from tests.fuzz import cases, targets

AT_ONCE = 16
TIMEOUT_SECONDS = 30.0
# Raw HTTP leaves a connection open where the server waits for more.
RAW_SECONDS = 0.5
RAW_SHARE = 0.05
# 501 no such thing, 503 busy, 504 too late; all others above 499 are bugs.
INTENDED = (501, 503, 504)
BAD_CODES = ("INTERNAL", "UNKNOWN", "DATA_LOSS")
_METHOD = "/tensorflow.serving.PredictionService/Predict"


async def send(server, count):
    """Sends about `count` cases.

    Returns:
        dict of kind to number sent, list of `targets.Finding`, and how many
        of the raw HTTP were answered.
    """
    answers = []
    raw = int(RAW_SHARE * count)
    each = (count - raw) // 2
    findings = []
    async with (
        httpx.AsyncClient(
            headers=server.headers, timeout=TIMEOUT_SECONDS
        ) as client,
        aio.insecure_channel(server.grpc) as channel,
    ):
        rpc = channel.unary_unary(_METHOD)
        url = f"http://{server.rest}/v1/models/{requests.MODEL}:predict"
        # By kind: function of a case that gives what was wrong, or None.
        kinds = {
            "rest": (
                "json_request",
                each,
                lambda data: _rest(client, url, data),
            ),
            "grpc": (
                "predict_request",
                count - raw - each,
                lambda data: _grpc(rpc, server.metadata, data),
            ),
            "raw_http": (
                "http",
                raw,
                lambda data: _raw(_address(server, data), data, answers),
            ),
        }
        for kind, (name, number, function) in kinds.items():
            for chunk in _chunks(name, number, server.token):
                findings += await _send_all(kind, chunk, function)
    sent = {kind: number for kind, (_, number, _) in kinds.items()}
    return sent, findings, len(answers)


def _chunks(name, count, token):
    """Lists of cases, `count` together."""
    seed = 100
    while count > 0:
        number = min(1000, count)
        if name == "http":
            drawn = cases.draw_http(number, seed, requests.MODEL, token)
        else:
            drawn = cases.draw(name, number, seed)
        yield drawn[:count]
        count -= len(drawn)
        seed += 1


async def _send_all(kind, chunk, function):
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(data):
        async with gate:
            try:
                what = await function(data)
            except (TimeoutError, httpx.HTTPError, OSError) as error:
                what = f"{type(error).__name__}: {error}"
        return None if what is None else targets.Finding(kind, data, what)

    found = await asyncio.gather(*map(one, chunk))
    return [finding for finding in found if finding is not None]


async def _rest(client, url, data):
    response = await client.post(url, content=data)
    status, body = response.status_code, response.text
    if status >= 500 and status not in INTENDED:
        return f"status {status}: {body[:200]}"
    if status == 200:
        return None
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"status {status} without an error: {body[:200]}"
    return targets.message_fault(error)


async def _grpc(rpc, metadata, data):
    try:
        await rpc(data, timeout=TIMEOUT_SECONDS, metadata=metadata)
    except aio.AioRpcError as error:
        if error.code().name in BAD_CODES:
            return f"{error.code().name}: {error.details()}"
        return targets.message_fault(error.details() or "")
    try:
        predict_pb2.PredictRequest.FromString(data)
    except message.DecodeError:
        return "took what is no PredictRequest"
    return None


def _address(server, data):
    """Every second case goes to the admin port."""
    return server.admin_address if len(data) % 2 else server.rest


async def _raw(address, data, answers):
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        # Left open: who has sent all is not waited for, nor answered.
        async with asyncio.timeout(RAW_SECONDS):
            answer = await reader.read(1 << 16)
    except (TimeoutError, ConnectionError):
        # Half a request: the server may wait, or hang up.
        return None
    finally:
        writer.close()
    if not answer:
        return None
    answers.append(answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if not status or not status[0].isdigit():
        return f"no status: {answer[:200]!r}"
    code = int(status[0])
    if code >= 500 and code not in INTENDED:
        return f"status {code}: {body[:200]!r}"
    if code >= 400:
        return targets.message_fault(body.decode("utf-8", "replace"))
    return None
