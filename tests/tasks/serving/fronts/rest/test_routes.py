"""TensorFlow Serving's REST is answered as TensorFlow Serving would."""

import asyncio
import gzip
import json
import socket
import threading
import time

import pytest

from tasks.serving import errors
from tasks.serving.fronts.http import exchange, gate, listener
from tasks.serving.fronts.rest import routes as rest_routes
from tests import waiting
from tests.tasks.serving import fake_server, harness

ANNA = {"Authorization": harness.bearer("anna")}
ADMIN = {"Authorization": harness.bearer("admin")}
PREDICT = "/v1/models/submodels:predict"
ROWS = {
    "instances": [
        {"audio": [1, 2, 3], "length": 2, "submodel_id": "anna"},
        {"audio": [4, 5, 6], "length": 3, "submodel_id": "anna"},
    ]
}


@pytest.fixture(scope="module")
def fronts():
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as running:
        yield running


@pytest.fixture
def impatient():
    """Fronts that cut slow senders off after a second."""
    with harness.Fronts(
        fake_server.FakeServer(),
        harness.access_control(),
        header_seconds=1.0,
        body_seconds=1.0,
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(fronts, monkeypatch):
    monkeypatch.setattr(exchange, "LINGERING_SECONDS", 0.2)
    fronts.server.error = fronts.server.hold = None
    fronts.server.ready = True
    fronts.server.seen.clear()


def _fails(fronts, http, body, headers=None, path=PREDICT):
    code, answered, content = fronts.http(
        "POST", path, body, {**ANNA, **(headers or {})}
    )
    assert code == http, content
    assert set(content) == {"error"}
    assert len(content["error"].encode()) <= errors.MAX_MESSAGE_BYTES
    assert "Traceback" not in content["error"]
    return content["error"]


def test_rows_are_answered_as_predictions(fronts):
    code, headers, content = fronts.http("POST", PREDICT, ROWS, ANNA)
    assert code == 200
    assert content == {
        "predictions": [
            {
                "text": text,
                "score": score,
                "status": "OK",
                "submodel_version": "7-anna",
                "served_by": "submodel",
            }
            for text, score in (("anna:2", 3.0), ("anna:3", 15.0))
        ]
    }
    assert headers["X-Submodel-Version"] == "7-anna"
    assert headers["X-Served-By"] == "submodel"


def test_columns_are_answered_as_outputs(fronts):
    body = {
        "signature_name": "base",
        "inputs": {"audio": [[1, 2], [3, 4]], "length": [1, 2]},
    }
    code, headers, content = fronts.http("POST", PREDICT, body, ANNA)
    assert code == 200
    assert content["outputs"]["text"] == [":1", ":2"]
    assert content["outputs"]["served_by"] == ["base", "base"]
    assert headers["X-Served-By"] == "base"
    assert "X-Submodel-Version" not in headers


def test_a_sample_rate_comes_with_a_row(fronts):
    rows = [{**row, "sample_rate": 8000} for row in ROWS["instances"]]
    assert fronts.http("POST", PREDICT, {"instances": rows}, ANNA)[0] == 200
    [(_, _, utterances, _)] = fronts.server.seen
    assert [each.sample_rate for each in utterances] == [8000, 8000]
    rows[0]["sample_rate"] = "8000"
    error = _fails(fronts, 400, {"instances": rows})
    assert "sample_rate" in error


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_audio_alone_needs_no_name_beside_the_header(fronts, key):
    code, _, content = fronts.http(
        "POST", PREDICT, {key: [[1, 2]]}, {**ANNA, "X-Submodel-Id": "anna"}
    )
    answer = content["predictions" if key == "instances" else "outputs"]
    assert code == 200
    text = answer[0]["text"] if key == "instances" else answer["text"][0]
    assert text == "anna:2"


@pytest.mark.parametrize(
    "choice, version, label",
    [
        ("", None, None),
        ("/versions/3", 3, None),
        ("/versions/0", None, None),
        ("/labels/stable", None, "stable"),
    ],
)
def test_a_path_chooses_the_version(fronts, choice, version, label):
    path = f"/v1/models/submodels{choice}:predict"
    assert fronts.http("POST", path, ROWS, ANNA)[0] == 200
    spec = fronts.server.seen[-1][1]
    assert (spec.name, spec.version, spec.label) == (
        "submodels",
        version,
        label,
    )


def test_a_gzipped_body_is_read(fronts):
    body = gzip.compress(json.dumps(ROWS).encode())
    headers = {**ANNA, "Content-Encoding": "gzip"}
    assert fronts.http("POST", PREDICT, body, headers)[0] == 200


def test_what_inflates_is_never_parsed_on_the_loop(fronts, monkeypatch):
    threads = []
    parse = rest_routes.to_utterances

    def noted(*arguments):
        threads.append(threading.current_thread().name)
        return parse(*arguments)

    monkeypatch.setattr(rest_routes, "to_utterances", noted)
    assert fronts.http("POST", PREDICT, ROWS, ANNA)[0] == 200
    body = gzip.compress(json.dumps(ROWS).encode())
    headers = {**ANNA, "Content-Encoding": "gzip"}
    assert fronts.http("POST", PREDICT, body, headers)[0] == 200
    on_the_loop, elsewhere = threads
    assert on_the_loop != elsewhere


@pytest.mark.parametrize(
    "body, message",
    [
        (b"{", "JSON parse error"),
        ({"instances": [], "inputs": []}, "one of them"),
        ({"inputs": {"audio": [[1]], "submodel_id": ["a", "b"]}}, "1 values"),
        ({"inputs": {"audio": [[1]]}}, "name the user once"),
        ({"inputs": {"audio": [1], "submodel_id": "anna"}}, "rank 2"),
        ({"inputs": {"audio": [[]], "submodel_id": "a"}}, "not be empty"),
        ({"inputs": {"audio": [["1"]], "submodel_id": "a"}}, "hold numbers"),
        ({"inputs": {"x": [[1]]}}, "extra: {x}. Missing but required: {audio}"),
        ({"inputs": [[1]], "signature_name": "zzz"}, "'zzz' not found"),
        ({"inputs": [[1]], "signature_name": 5}, "must be a string"),
        ({"inputs": {"\0" * 3000: 1}}, "extra"),
        (b"[" * 90_000, "nested too deeply"),
    ],
)
def test_a_wrong_body_is_refused(fronts, body, message):
    assert message in _fails(fronts, 400, body)
    assert not fronts.server.seen


def test_who_would_wait_too_long_is_refused_unread(fronts, monkeypatch):
    monkeypatch.setattr(fronts.server, "is_full", True)
    # Read, it would be refused for what it says.
    assert _fails(fronts, 429, b"{") == "busy"


def test_errors_have_tensorflow_servings_codes(fronts):
    error = _fails(fronts, 404, ROWS, path="/v1/models/zzz:predict")
    assert "zzz" in error
    for code in errors.Code:
        if code is errors.Code.OK:
            continue
        fronts.server.error = errors.ServingError(code, "so it is")
        assert _fails(fronts, code.http, ROWS) == "so it is"
    fronts.server.error = RuntimeError("secret inside")
    assert "secret" not in _fails(fronts, 500, ROWS)


@pytest.mark.parametrize("seconds, header", [(0.2, "1"), (7.5, "8")])
def test_a_refusal_says_when_to_try_again(fronts, seconds, header):
    fronts.server.error = errors.ServingError(
        errors.Code.UNAVAILABLE, "busy", seconds
    )
    code, headers, _ = fronts.http("POST", PREDICT, ROWS, ANNA)
    assert code == 503 and headers["Retry-After"] == header


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", PREDICT),
        ("DELETE", PREDICT),
        ("POST", "/v1/models/submodels"),
        ("POST", "/v1/models/submodels:classify"),
        ("POST", "/v1/models/submodels/versions/x:predict"),
        ("GET", "/v1/models/submodels/versions/" + "9" * 19),
        ("GET", "/v1/models/"),
    ],
)
def test_other_methods_and_paths_are_malformed(fronts, method, path):
    code, _, content = fronts.http(method, path, None, ANNA)
    assert code == 400
    assert content["error"].startswith(f"Malformed request: {method} ")


def test_there_is_nothing_elsewhere(fronts):
    assert fronts.http("GET", "/", None, ANNA)[0] == 404


def test_status_is_tensorflow_servings(fronts):
    for path in ("", "/versions/3", "/labels/stable"):
        code, _, content = fronts.http(
            "GET", f"/v1/models/submodels{path}", None, ANNA
        )
        assert code == 200
    assert content["model_version_status"][0] == {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert content["model_version_status"][1]["status"] == {
        "error_code": "DATA_LOSS",
        "error_message": "broken",
    }


def test_metadata_are_tensorflow_servings(fronts):
    code, _, content = fronts.http(
        "GET", "/v1/models/submodels/metadata", None, ANNA
    )
    assert code == 200
    assert content["model_spec"] == {
        "name": "submodels",
        "signature_name": "",
        "version": "3",
    }
    signature = content["metadata"]["signature_def"]["signature_def"][
        "serving_default"
    ]
    assert signature["inputs"]["audio"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}],
            "unknown_rank": False,
        },
        "name": "audio:0",
    }
    assert signature["inputs"]["submodel_id"]["dtype"] == "DT_STRING"
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_health_follows_the_server_and_is_open(fronts):
    model = "/v1/models/submodels/ready"
    for path in ("/live", "/ready"):
        assert fronts.http("GET", path)[0] == 200
    assert fronts.http("GET", model, None, ANNA)[0] == 200
    fronts.server.ready = False
    assert fronts.http("GET", "/live")[0] == 200
    assert fronts.http("GET", "/ready")[0] == 503
    assert fronts.http("GET", model, None, ANNA)[0] == 503


def test_metrics_take_an_operator(fronts):
    other = {"Authorization": harness.bearer("other")}
    for caller in (ANNA, other):
        assert fronts.http("GET", "/metrics", None, caller)[0] == 403
    code, headers, content = fronts.http("GET", "/metrics", None, ADMIN)
    assert code == 200 and b"things_total" in content
    assert headers["Content-Type"].startswith("text/plain; version=")


def _paths(app):
    """Every method and path of an application, out of its router."""
    values = dict.fromkeys(["name", "submodel_id"], "submodels")
    for route in app.routes:
        path = route.path_format
        for name, value in {**values, "version": "3", "label": "x"}.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path
        for method in route.methods:
            yield method, path


@pytest.mark.parametrize("front", ["rest", "admin"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": harness.TOKENS["admin"]},
        {"Authorization": ""},
        {"X-Submodel-Id": "anna"},
    ],
)
def test_no_route_answers_without_a_credential(fronts, front, headers):
    paths = set(_paths(fronts.apps[front]))
    assert len(paths) > 5
    paths |= {("GET", "/"), ("GET", "/live/"), ("GET", "/v1/x"), ("PUT", "/a")}
    for method, path in paths:
        code, answered, _ = fronts.http(
            method, path, b"{", headers, front=front
        )
        if path in gate.OPEN_PATHS:
            assert code == 200
        else:
            assert code == 401, path
            assert answered["WWW-Authenticate"] == "Bearer"
    assert not fronts.server.seen


def test_without_access_control_no_web_page_gets_in():
    with harness.Fronts(fake_server.FakeServer()) as running:
        port = running.ports["rest"]
        for host in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
            headers = {"Host": host}
            assert running.http("POST", PREDICT, ROWS, headers)[0] == 200
            headers["Origin"] = f"http://{host}"
            assert running.http("POST", PREDICT, ROWS, headers)[0] == 403
        for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1"):
            headers = {"Host": host}
            assert running.http("POST", PREDICT, ROWS, headers)[0] == 403


def test_open_are_live_and_ready_alone():
    assert set(gate.OPEN_PATHS) == {"/live", "/ready"}


def test_a_header_that_is_there_twice_is_refused(fronts):
    head = (
        f"GET /v1/models/submodels HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {ANNA['Authorization']}\r\n"
        f"Authorization: {ANNA['Authorization']}\r\n\r\n"
    )
    with _raw(fronts, head) as connection:
        assert b" 400 " in connection.recv(100)


def _raw(fronts, data):
    connection = socket.create_connection(
        ("127.0.0.1", fronts.ports["rest"]), timeout=60
    )
    connection.sendall(data.encode() if isinstance(data, str) else data)
    return connection


def _head(*lines):
    lines = [
        f"POST {PREDICT} HTTP/1.1",
        "Host: x",
        f"Authorization: {ANNA['Authorization']}",
        *lines,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


def _everything(connection, until=None):
    """What comes before the connection ends, or before a last byte."""
    data = b""
    while chunk := connection.recv(1 << 16):
        data += chunk
        if until is not None and data.endswith(until):
            break
    return data


@pytest.mark.parametrize("path", [PREDICT, "/nowhere"])
@pytest.mark.parametrize("expected", ["100-continue", "a miracle"])
def test_nothing_is_promised_to_who_shows_no_credential(fronts, path, expected):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        f"Expect: {expected}\r\n\r\n"
    )
    with _raw(fronts, head) as connection:
        assert b" 401 " in connection.recv(100)


def test_a_body_is_asked_for_once_it_may_come(fronts):
    body = json.dumps(ROWS).encode()
    length = f"Content-Length: {len(body)}"
    with _raw(fronts, _head(length, "Expect: 100-Continue")) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b" 200 " in connection.recv(100)
    with _raw(fronts, _head(length, "Expect: a miracle")) as connection:
        assert b" 417 " in connection.recv(100)
    long = f"Content-Length: {harness.LIMITS.max_request_bytes + 1}"
    with _raw(fronts, _head(long, "Expect: 100-continue")) as connection:
        assert b" 413 " in connection.recv(100)


def test_a_body_that_is_too_long_is_refused_before_it_comes(fronts):
    with _raw(fronts, _head("Content-Length: 1048577")) as connection:
        answer = _everything(connection)
    assert b" 413 " in answer and b"at most 1048576 bytes" in answer


def test_chunks_that_are_too_long_are_refused(fronts):
    with _raw(fronts, _head("Transfer-Encoding: chunked")) as connection:
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        for _ in range(17):
            connection.sendall(chunk)
        answer = _everything(connection)
    assert b" 413 " in answer


def test_a_body_without_a_credential_is_not_read(fronts):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
    started = time.monotonic()
    with _raw(fronts, head) as connection:
        assert b" 401 " in connection.recv(100)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "body, message",
    [
        (gzip.compress(bytes(1 << 26)), "inflates to more than 1048576"),
        (b"not gzip", "not gzip"),
        (gzip.compress(b"{}")[:-4], "one whole gzip member"),
        (gzip.compress(b"{}") + b"x", "one whole gzip member"),
        (gzip.compress(b"{}") * 2, "one whole gzip member"),
    ],
    # The bytes hold the time, and workers must agree on names.
    ids=["bomb", "not gzip", "cut", "more behind", "two"],
)
def test_a_bomb_or_broken_gzip_is_refused(fronts, body, message):
    headers = {"Content-Encoding": "gzip"}
    assert message in _fails(fronts, 400, body, headers)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_another_encoding_is_refused(fronts, encoding):
    headers = {"Content-Encoding": encoding}
    assert "must be gzip" in _fails(fronts, 400, b"x", headers)


def _slow_senders(fronts):
    """Connections: one that owes its body, and others their heads."""
    body = _raw(fronts, _head("Content-Length: 1000") + '{"inst')
    return body, [_raw(fronts, "POST /v1/mod") for _ in range(20)]


def test_slow_senders_hold_nobody_up(fronts):
    body, heads = _slow_senders(fronts)
    started = time.monotonic()
    assert fronts.http("POST", PREDICT, ROWS, ANNA)[0] == 200
    assert time.monotonic() - started < 10
    for connection in (body, *heads):
        connection.close()


def test_slow_senders_are_cut_off(impatient):
    body, heads = _slow_senders(impatient)
    assert b" 408 " in _everything(body)
    for head in heads:
        assert _everything(head) == b""
        head.close()
    body.close()


def test_a_head_that_trickles_in_is_cut_off(impatient):
    started = time.monotonic()
    with _raw(impatient, "GET /ready HTTP/1.1\r\n") as connection:
        with pytest.raises(OSError):
            while time.monotonic() - started < 30:
                connection.sendall(b"A: b\r\n")
                time.sleep(0.1)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
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
def test_what_is_not_http_is_refused_shortly(fronts, data):
    with _raw(fronts, data) as connection:
        answer = connection.recv(1 << 16)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"401"), answer
    assert len(body) <= errors.MAX_MESSAGE_BYTES
    assert list(json.loads(body)) == ["error"]


def test_a_client_that_goes_away_cancels_its_request(fronts):
    fronts.server.hold = asyncio.Event()
    before = fronts.server.cancelled
    body = json.dumps(ROWS)
    with _raw(fronts, _head(f"Content-Length: {len(body)}") + body):
        waiting.block_until(lambda: fronts.server.seen)
    waiting.block_until(lambda: fronts.server.cancelled == before + 1)


def test_a_trace_comes_back_and_the_log_names_nobody(tmp_path):
    trace = "0af7651916cd43dd8448eb211c80319c"
    path = tmp_path / "access.jsonl"
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control(), log_path=path
    ) as running:
        for parent in (f"00-{trace}-b7ad6b7169203331-01", "nonsense"):
            _, headers, _ = running.http(
                "POST", PREDICT, ROWS, {**ANNA, "traceparent": parent}
            )
            assert (trace in headers.get("traceparent", "")) == (
                trace in parent
            )
        running.http("GET", "/v1/models/anna/secret", None, ANNA)
        running.http("POST", PREDICT, ROWS)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["http"] for each in entries] == [200, 200, 400, 401]
    assert [each["code"] for each in entries] == [
        "OK",
        "OK",
        "INVALID_ARGUMENT",
        "UNAUTHENTICATED",
    ]
    assert entries[0]["trace_id"] == trace and "trace_id" not in entries[1]
    for entry in entries:
        entry.pop("caller", None)
    assert "anna" not in json.dumps(entries)


def test_connections_leave_room_for_the_store_and_the_other_ports(monkeypatch):
    monkeypatch.setattr(listener.resource, "getrlimit", lambda kind: (8, 8))
    live = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as fronts:
        with _raw(fronts, live) as first, _raw(fronts, live) as second:
            for each in (first, second):
                assert b"ok" in _everything(each, until=b"}")
            with _raw(fronts, "") as third:
                assert _is_closed(third)
            first.sendall(live.encode())
            assert b"ok" in _everything(first, until=b"}")


def _is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
