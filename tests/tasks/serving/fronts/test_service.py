"""A service drains: not ready, no new requests, all admitted are answered."""

import asyncio
import signal
import subprocess
import sys
from concurrent import futures

import httpx
import numpy as np
import pytest
import tensorflow as tf
from grpc import aio
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tasks.serving import errors, messages, server
from tasks.serving.fronts import access, access_log, listening, service
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

FRONTS = ["grpc", "rest", "admin"]
ADDRESSES = dict.fromkeys(FRONTS, listening.Address("127.0.0.1", 0))
PREDICT = "/v1/models/asr:predict"
BODY = {"inputs": {"audio": [[5.0] * 10], "submodel_id": "anna"}}


class Running:
    """A service on a fake engine, and its ports."""

    def __init__(self, engine=None):
        self.engine = engine or fake_engine.FakeEngine()
        source = fake_source.FakeSource()
        source.publish("anna", 7)
        self.server = server.Server(
            source,
            lambda path: self.engine,
            [messages.ModelConfig("asr", "/exports")],
            fake_source.LIMITS,
            list_folder=lambda path: ["1"],
        )
        self.service = service.Service(
            self.server,
            access.NoAccessControl("acme"),
            fake_source.LIMITS,
            access_log.AccessLog(""),
            listening.Tls(),
        )

    @property
    def num_queued(self):
        value = self.server.registry.get_sample_value
        return value("submodels_queue_requests")

    async def start(self):
        bound = await self.service.start(ADDRESSES)
        self.ports = {front: each.port for front, each in bound.items()}
        return self

    def url(self, path, front="rest"):
        return f"http://127.0.0.1:{self.ports[front]}{path}"

    async def over_grpc(self):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "asr"
        request.inputs["audio"].CopyFrom(
            tf.make_tensor_proto(np.full((1, 10), 5, np.float32))
        )
        async with aio.insecure_channel(
            f"127.0.0.1:{self.ports['grpc']}"
        ) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = await stub.Predict(
                request, timeout=60, metadata=[("x-submodel-id", "anna")]
            )
        return response.outputs["text"].string_val[0]


async def _http(running, path, front="rest", body=None):
    """(status, headers, content) of a request on a connection of its own."""
    async with httpx.AsyncClient(timeout=60) as client:
        method = "GET" if body is None else "POST"
        answer = await client.request(
            method, running.url(path, front), json=body
        )
    return answer.status_code, answer.headers, answer.json()


def test_the_real_server_answers_over_both():
    async def run():
        running = await Running().start()
        expected = fake_source.text(5, 7)
        assert await running.over_grpc() == expected
        code, headers, content = await _http(running, PREDICT, body=BODY)
        assert code == 200, content
        assert content["outputs"]["text"] == [expected.decode()]
        assert headers["X-Submodel-Version"].startswith("1-")
        missing = {"inputs": {"audio": [[1.0]], "submodel_id": "ben"}}
        assert (await _http(running, PREDICT, body=missing))[0] == 404
        for wrong in ("../anna", "anna\0", "a/b", "аnna"):
            body = {"inputs": {"audio": [[1.0]], "submodel_id": wrong}}
            code, _, content = await _http(running, PREDICT, body=body)
            assert code in (400, 404), content
        for path in ("..%2Fanna", "%2e%2e", "anna%00", "a%2Fb"):
            path = f"/v1/submodels/{path}:load"
            code, _, content = await _http(running, path, "admin", {})
            assert code in (400, 404), content
        code, _, content = await _http(running, "/v1/submodels", "admin")
        assert [each["submodel_id"] for each in content["submodels"]] == [
            "anna"
        ]
        path = "/v1/submodels/anna:unload"
        assert (await _http(running, path, "admin", {}))[0] == 200
        code, _, content = await _http(running, "/v1/submodels", "admin")
        assert content["submodels"] == []
        await running.service.close()

    asyncio.run(run())


def test_draining_answers_what_was_admitted_and_refuses_the_rest(monkeypatch):
    lame_duck_seconds, sleep = 1e6, asyncio.sleep

    async def run():
        is_over = asyncio.Event()

        async def sleep_or_wait(seconds):
            if seconds == lame_duck_seconds:
                await is_over.wait()
            else:
                await sleep(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep_or_wait)
        running = await Running().start()
        running.engine.may_run.clear()
        first = [
            asyncio.create_task(running.over_grpc()),
            asyncio.create_task(_http(running, PREDICT, body=BODY)),
        ]
        await waiting.until(lambda: running.num_queued == 2)
        draining = asyncio.create_task(
            running.service.drain(lame_duck_seconds, 60)
        )
        # A lame duck: not ready any more, and it still serves.
        assert (await _http(running, "/ready"))[0] == 503
        assert (await _http(running, "/live"))[0] == 200
        late = asyncio.create_task(_http(running, PREDICT, body=BODY))
        await waiting.until(lambda: running.num_queued == 3)
        is_over.set()
        await waiting.until(lambda: not running.server.ready)
        code, headers, _ = await _http(running, PREDICT, body=BODY)
        assert code == 503 and int(headers["Retry-After"]) >= 1
        with pytest.raises(aio.AioRpcError, match="UNAVAILABLE"):
            await running.over_grpc()
        running.engine.may_run.set()
        expected = fake_source.text(5, 7)
        assert await first[0] == expected
        for each in (first[1], late):
            code, _, content = await each
            assert code == 200
            assert content["outputs"]["text"] == [expected.decode()]
        assert await draining
        with pytest.raises(httpx.ConnectError):
            await _http(running, "/live")

    asyncio.run(run())


def test_draining_gives_up_in_time_and_says_so():
    async def run():
        running = await Running().start()
        running.engine.may_run.clear()
        stuck = asyncio.create_task(_http(running, PREDICT, body=BODY))
        await waiting.until(running.engine.entered.is_set)
        # Behind the one that the engine has begun.
        waits = asyncio.create_task(_http(running, PREDICT, body=BODY))
        await waiting.until(lambda: running.num_queued == 2)
        draining = asyncio.create_task(running.service.drain(0, 0.1))
        assert (await waits)[0] == 503
        running.engine.may_run.set()
        assert not await draining
        # Late or refused, but never without an answer.
        code, _, _ = await stuck
        assert code in (200, 503)

    asyncio.run(run())


def test_an_address_in_use_is_an_error_that_names_it():
    async def run(front):
        first = await Running().start()
        port = first.ports[front]
        second = Running()
        address = listening.Address("127.0.0.1", port)
        with pytest.raises(OSError, match=str(port)):
            await second.service.start({front: address})
        await first.service.close()

    for front in FRONTS:
        asyncio.run(run(front))


def test_a_model_that_does_not_load_is_an_error():
    async def run():
        running = Running()
        running.server = None
        broken = server.Server(
            None,
            lambda path: fake_engine.FakeEngine(),
            [messages.ModelConfig("asr", "/exports")],
            fake_source.LIMITS,
            list_folder=lambda path: [],
        )
        running.service = service.Service(
            broken,
            access.NoAccessControl("acme"),
            fake_source.LIMITS,
            access_log.AccessLog(""),
            listening.Tls(),
        )
        with pytest.raises(errors.ServingError, match="no versions"):
            await running.service.start(ADDRESSES)

    asyncio.run(run())


PROGRAM = """
import asyncio
import sys
from tests import waiting
from tests.tasks.serving.fronts import test_service

async def run():
    running = test_service.Running()
    if "stuck" in sys.argv:
        running.engine.may_run.clear()
    serving = asyncio.create_task(
        running.service.serve(test_service.ADDRESSES, 0.1, 60)
    )
    await waiting.until(running.engine.entered.is_set)
    print("under way", flush=True)
    print("drained:", await serving, flush=True)

asyncio.run(run())
"""


@pytest.mark.parametrize(
    "stuck", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_sigterm_drains_and_a_second_one_stops_at_once(stuck):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *(["stuck"] if stuck else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with futures.ThreadPoolExecutor(1) as pool:
        try:
            ready = process.stdout.readline()
            bound = dict(each.split("=") for each in ready.split()[1:])
            url = f"http://{bound['rest']}{PREDICT}"
            asked = pool.submit(httpx.post, url, json=BODY, timeout=60)
            assert process.stdout.readline() == "under way\n"
            process.send_signal(signal.SIGTERM)
            if stuck:
                # Two signals that come at the same time count as one.
                while "draining" not in process.stderr.readline():
                    assert process.poll() is None
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.5)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 128 + signal.SIGTERM
                assert isinstance(asked.exception(), httpx.TransportError)
            else:
                out, errors = process.communicate(timeout=300)
                assert out == "drained: True\n", errors
                assert process.returncode == 0
                last = "stopped: every request that was let in was answered"
                assert errors.splitlines()[-1] == last
                (text,) = asked.result().json()["outputs"]["text"]
                assert text.encode() == fake_source.text(5, 7)
        finally:
            process.kill()
            process.communicate()
