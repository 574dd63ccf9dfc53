"""The guard is closed by default, and says and logs no more than it should."""

import json

import pytest
from starlette import testclient

from tasks.serving.fronts.http import guard
from tests.tasks.serving import fake_server, harness


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
        if path in guard.OPEN_PATHS:
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
            assert running.predict(headers=headers)[0] == 200
            headers["Origin"] = f"http://{host}"
            assert running.predict(headers=headers)[0] == 403
        for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1"):
            headers = {"Host": host}
            assert running.predict(headers=headers)[0] == 403


def test_only_live_and_ready_are_open():
    assert set(guard.OPEN_PATHS) == {"/live", "/ready"}


def test_a_header_that_is_there_twice_is_refused(fronts):
    head = (
        f"GET /v1/models/submodels HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {harness.bearer('anna')}\r\n"
        f"Authorization: {harness.bearer('anna')}\r\n\r\n"
    )
    with fronts.raw(head) as connection:
        assert b" 400 " in connection.recv(100)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", harness.PREDICT),
        ("DELETE", harness.PREDICT),
        ("POST", "/v1/models/submodels"),
        ("POST", "/v1/models/submodels:classify"),
        ("POST", "/v1/models/submodels/versions/x:predict"),
        ("GET", "/v1/models/submodels/versions/" + "9" * 19),
        ("GET", "/v1/models/"),
    ],
)
def test_other_methods_and_paths_are_malformed(fronts, method, path):
    code, _, content = fronts.http(method, path, None, harness.ANNA)
    assert code == 400
    assert content["error"].startswith(f"Malformed request: {method} ")


def test_other_paths_are_not_found(fronts):
    assert fronts.http("GET", "/", None, harness.ANNA)[0] == 404


@pytest.mark.parametrize("path", [harness.PREDICT, "/nowhere"])
@pytest.mark.parametrize("expected", ["100-continue", "a miracle"])
def test_no_body_is_asked_for_without_a_credential(fronts, path, expected):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        f"Expect: {expected}\r\n\r\n"
    )
    with fronts.raw(head) as connection:
        assert b" 401 " in connection.recv(100)


def test_a_trace_comes_back_and_the_log_names_nobody(tmp_path):
    trace = "0af7651916cd43dd8448eb211c80319c"
    path = tmp_path / "access.jsonl"
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control(), log_path=path
    ) as running:
        for parent in (f"00-{trace}-b7ad6b7169203331-01", "nonsense"):
            _, headers, _ = running.http(
                "POST",
                harness.PREDICT,
                harness.ROWS,
                {**harness.ANNA, "traceparent": parent},
            )
            assert (trace in headers.get("traceparent", "")) == (
                trace in parent
            )
        running.http("GET", "/v1/models/anna/secret", None, harness.ANNA)
        running.http("POST", harness.PREDICT, harness.ROWS)
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


def test_another_host_may_announce_its_start_and_end(fronts):
    app = fronts.apps["rest"]
    with testclient.TestClient(app) as client:
        assert client.get("/live").json() == {"status": "ok"}
        answer = client.post(
            harness.PREDICT, json=harness.ROWS, headers=harness.ANNA
        )
        assert answer.status_code == 200
        assert client.post(harness.PREDICT, json={}).status_code == 401
