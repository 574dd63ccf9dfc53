"""The HTTP server bounds what clients send, and answers what is not HTTP."""

import asyncio
import json
import socket
import time

import pytest

from tasks.serving import errors
from tasks.serving.fronts import listening
from tasks.serving.fronts.http import listener
from tests import waiting
from tests.tasks.serving import fake_server, harness

_head = harness.predict_head


@pytest.fixture(scope="module")
def impatient():
    """Fronts that cut slow senders off after a second."""
    with harness.Fronts(
        fake_server.FakeServer(),
        harness.access_control(),
        header_seconds=1,
        body_seconds=1.0,
    ) as running:
        yield running


def test_a_body_is_asked_for_only_after_the_checks(fronts):
    body = json.dumps(harness.ROWS).encode()
    length = f"Content-Length: {len(body)}"
    with fronts.raw(_head(length, "Expect: 100-Continue")) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b" 200 " in connection.recv(100)
    with fronts.raw(_head(length, "Expect: a miracle")) as connection:
        assert b" 417 " in connection.recv(100)
    long = f"Content-Length: {harness.LIMITS.max_request_bytes + 1}"
    with fronts.raw(_head(long, "Expect: 100-continue")) as connection:
        assert b" 413 " in connection.recv(100)


def test_a_body_that_is_too_long_is_refused_before_it_comes(fronts):
    with fronts.raw(_head("Content-Length: 1048577")) as connection:
        answer = harness.everything(connection)
    assert b" 413 " in answer and b"at most 1048576 bytes" in answer


def test_chunks_that_are_too_long_are_refused(fronts):
    with fronts.raw(_head("Transfer-Encoding: chunked")) as connection:
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        for _ in range(17):
            connection.sendall(chunk)
        answer = harness.everything(connection)
    assert b" 413 " in answer


def test_a_body_without_a_credential_is_not_read(fronts):
    head = _head("Content-Length: 9999").replace("Bearer", "Nobody")
    started = time.monotonic()
    with fronts.raw(head) as connection:
        assert b" 401 " in connection.recv(100)
    assert time.monotonic() - started < 10


def _slow_senders(fronts):
    """Connections: one that owes its body, and others their heads."""
    body = fronts.raw(_head("Content-Length: 1000") + '{"inst')
    return body, [fronts.raw("POST /v1/mod") for _ in range(20)]


def test_slow_senders_hold_nobody_up(fronts):
    body, heads = _slow_senders(fronts)
    started = time.monotonic()
    assert fronts.predict()[0] == 200
    assert time.monotonic() - started < 10
    for connection in (body, *heads):
        connection.close()


def test_slow_senders_are_cut_off(impatient):
    body, heads = _slow_senders(impatient)
    assert b" 408 " in harness.everything(body)
    for head in heads:
        assert harness.everything(head) == b""
        head.close()
    body.close()


def test_a_head_that_trickles_in_is_cut_off(impatient):
    started = time.monotonic()
    with impatient.raw("GET /ready HTTP/1.1\r\n") as connection:
        with pytest.raises(OSError):
            while time.monotonic() - started < 30:
                connection.sendall(b"A: b\r\n")
                time.sleep(0.1)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /live HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /live HTTP/0.9\r\n\r\n",
        b"GET /live\r\n\r\n",
        b"GET /live?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 0\r\n\r\n0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"\1" * 6000 + b": b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"\1" * 6000 + b"\r\n\r\n",
        b"\1" * 6000 + b" / HTTP/1.1\r\n\r\n",
        b"GET /" + b"\1" * 6000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_get_a_short_refusal(fronts, data):
    with fronts.raw(data) as connection:
        answer = harness.everything(connection, until=b"}")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"401"), answer
    assert len(body) <= errors.MAX_MESSAGE_BYTES
    assert list(json.loads(body)) == ["error"]


def test_a_client_that_goes_away_cancels_its_request(fronts):
    fronts.server.hold = asyncio.Event()
    before = fronts.server.cancelled
    body = json.dumps(harness.ROWS)
    with fronts.raw(_head(f"Content-Length: {len(body)}") + body):
        waiting.block_until(lambda: fronts.server.seen)
    waiting.block_until(lambda: fronts.server.cancelled == before + 1)


def test_connections_leave_room_for_the_store_and_the_other_ports(monkeypatch):
    monkeypatch.setattr(listener.resource, "getrlimit", lambda kind: (8, 8))
    live = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as fronts:
        with fronts.raw(live) as first, fronts.raw(live) as second:
            for each in (first, second):
                assert b"ok" in harness.everything(each, until=b"}")
            with fronts.raw("") as third:
                assert _is_closed(third)
            first.sendall(live.encode())
            assert b"ok" in harness.everything(first, until=b"}")


def _is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_kept_and_no_response_waits_for_the_next(fronts):
    body = json.dumps(harness.ROWS)
    request = _head(f"Content-Length: {len(body)}") + body
    seconds = []
    with fronts.raw("") as connection:
        for _ in range(10):
            started = time.monotonic()
            connection.sendall(request.encode())
            assert b" 200 " in harness.everything(connection, until=b"}]}")
            seconds.append(time.monotonic() - started)
        connection.sendall(request.encode() * 2)
        both = b""
        while both.count(b" 200 ") < 2:
            both += harness.everything(connection, until=b"}]}")
    # A delayed acknowledgement of the first of two packets takes 40 ms.
    assert min(seconds) < 0.035


def test_a_client_that_is_still_sending_reads_why_it_was_refused(fronts):
    size = 1 << 19
    head = _head(f"Content-Length: {size}").replace("Bearer", "Nobody")
    with fronts.raw(head) as connection:
        connection.sendall(bytes(size))
        answer = harness.everything(connection)
    assert b" 401 " in answer and b"connection: close" in answer.lower()


def test_a_body_that_breaks_off_gives_its_bytes_back(fronts):
    for broken in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        with fronts.raw(_head(broken) + "5\r\nhello\r\n"):
            waiting.block_until(lambda: fronts.intake.num_bytes > 0)
        waiting.block_until(lambda: fronts.intake.num_bytes == 0)
    not_chunks = _head("Transfer-Encoding: chunked") + "5\r\nhello\r\nzz\r\n"
    with fronts.raw(not_chunks) as connection:
        assert b" 400 " in harness.everything(connection)
    waiting.block_until(lambda: fronts.intake.num_bytes == 0)


def test_all_addresses_of_a_host_that_are_there_are_listened_on(monkeypatch):
    # 192.0.2.1 is reserved for documentation: no machine has it.
    hosts = ["192.0.2.1", "127.0.0.1", "127.0.0.2"]
    monkeypatch.setattr(
        listener.socket,
        "getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
            for host in hosts
        ],
    )

    async def answers():
        running = listener.Listener(_ok, header_seconds=60)
        address = listening.Address("a.name", 0)
        port = await running.start(address, listening.Tls())
        found = []
        for host in hosts[1:]:
            client = socket.socket()
            client.connect((host, port))
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            found.append(await reader.read())
            writer.close()
        await running.stop(1)
        return found

    assert all(each.endswith(b"ok") for each in asyncio.run(answers()))
    del hosts[1:]
    with pytest.raises(OSError, match="192.0.2.1"):
        asyncio.run(answers())


async def _ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
