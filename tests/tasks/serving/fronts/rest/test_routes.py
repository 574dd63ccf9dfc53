"""REST answers as TensorFlow Serving would."""

import gzip
import json
import threading

import pytest

from tasks.serving import errors
from tasks.serving.fronts.rest import routes as rest_routes
from tests.tasks.serving import harness


def _fails(fronts, http, body, headers=None, path=harness.PREDICT):
    code, answered, content = fronts.http(
        "POST", path, body, {**harness.ANNA, **(headers or {})}
    )
    assert code == http, content
    assert set(content) == {"error"}
    assert len(content["error"].encode()) <= errors.MAX_MESSAGE_BYTES
    assert "Traceback" not in content["error"]
    return content["error"]


def test_rows_are_answered_as_predictions(fronts):
    code, headers, content = fronts.predict()
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


def test_a_cut_text_has_its_status_beside_it(fronts, monkeypatch):
    cut = "CUT: what was said after it is missing"
    monkeypatch.setattr(fronts.server, "status", cut)
    code, _, content = fronts.predict()
    assert code == 200
    found = [(row["text"], row["status"]) for row in content["predictions"]]
    assert found == [("anna:2", cut), ("anna:3", cut)]


def test_columns_are_answered_as_outputs(fronts):
    body = {
        "signature_name": "base",
        "inputs": {"audio": [[1, 2], [3, 4]], "length": [1, 2]},
    }
    code, headers, content = fronts.predict(body)
    assert code == 200
    assert content["outputs"]["text"] == [":1", ":2"]
    assert content["outputs"]["served_by"] == ["base", "base"]
    assert headers["X-Served-By"] == "base"
    assert "X-Submodel-Version" not in headers


def test_a_language_comes_with_a_row(fronts):
    rows = [
        {**row, "language": language}
        for row, language in zip(
            harness.ROWS["instances"], ("es", "DE-at"), strict=True
        )
    ]
    fronts.predict({"instances": rows})
    [_, _, utterances, _] = fronts.server.seen[-1]
    assert [each.language for each in utterances] == ["es", "de"]
    rows[0]["language"] = "Spanish"
    code, _, content = fronts.predict({"instances": rows})
    assert code == 400
    assert "'language'" in content["error"] and "es" in content["error"]


def test_a_sample_rate_comes_with_a_row(fronts):
    rows = [{**row, "sample_rate": 8000} for row in harness.ROWS["instances"]]
    assert fronts.predict({"instances": rows})[0] == 200
    [(_, _, utterances, _)] = fronts.server.seen
    assert [each.sample_rate for each in utterances] == [8000, 8000]
    rows[0]["sample_rate"] = "8000"
    error = _fails(fronts, 400, {"instances": rows})
    assert "sample_rate" in error


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_audio_alone_needs_no_name_beside_the_header(fronts, key):
    code, _, content = fronts.http(
        "POST",
        harness.PREDICT,
        {key: [[1, 2]]},
        {**harness.ANNA, "X-Submodel-Id": "anna"},
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
    assert fronts.http("POST", path, harness.ROWS, harness.ANNA)[0] == 200
    spec = fronts.server.seen[-1][1]
    assert (spec.name, spec.version, spec.label) == (
        "submodels",
        version,
        label,
    )


def test_a_gzipped_body_is_read(fronts):
    body = gzip.compress(json.dumps(harness.ROWS).encode())
    headers = {**harness.ANNA, "Content-Encoding": "gzip"}
    assert fronts.predict(body, headers)[0] == 200


def test_compressed_bodies_are_never_parsed_on_the_loop(fronts, monkeypatch):
    threads = []
    parse = rest_routes.to_utterances

    def noted(*arguments):
        threads.append(threading.current_thread().name)
        return parse(*arguments)

    monkeypatch.setattr(rest_routes, "to_utterances", noted)
    assert fronts.predict()[0] == 200
    body = gzip.compress(json.dumps(harness.ROWS).encode())
    headers = {**harness.ANNA, "Content-Encoding": "gzip"}
    assert fronts.predict(body, headers)[0] == 200
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


def test_a_request_is_refused_unread_where_it_would_wait(fronts, monkeypatch):
    monkeypatch.setattr(fronts.server, "is_full", True)
    # Read, it would be refused for what it says.
    assert _fails(fronts, 429, b"{") == "busy"


def test_errors_have_tensorflow_servings_codes(fronts):
    error = _fails(fronts, 404, harness.ROWS, path="/v1/models/zzz:predict")
    assert "zzz" in error
    for code in errors.Code:
        if code is errors.Code.OK:
            continue
        fronts.server.error = errors.ServingError(code, "so it is")
        assert _fails(fronts, code.http, harness.ROWS) == "so it is"
    fronts.server.error = RuntimeError("secret inside")
    assert "secret" not in _fails(fronts, 500, harness.ROWS)


@pytest.mark.parametrize("seconds, header", [(0.2, "1"), (7.5, "8")])
def test_a_refusal_says_when_to_try_again(fronts, seconds, header):
    fronts.server.error = errors.ServingError(
        errors.Code.UNAVAILABLE, "busy", seconds
    )
    code, headers, _ = fronts.predict()
    assert code == 503 and headers["Retry-After"] == header


def test_status_is_tensorflow_servings(fronts):
    for path in ("", "/versions/3", "/labels/stable"):
        code, _, content = fronts.http(
            "GET", f"/v1/models/submodels{path}", None, harness.ANNA
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
        "GET", "/v1/models/submodels/metadata", None, harness.ANNA
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
    assert fronts.http("GET", model, None, harness.ANNA)[0] == 200
    fronts.server.ready = False
    assert fronts.http("GET", "/live")[0] == 200
    assert fronts.http("GET", "/ready")[0] == 503
    assert fronts.http("GET", model, None, harness.ANNA)[0] == 503


def test_metrics_take_an_operator(fronts):
    other = {"Authorization": harness.bearer("other")}
    for caller in (harness.ANNA, other):
        assert fronts.http("GET", "/metrics", None, caller)[0] == 403
    code, headers, content = fronts.http("GET", "/metrics", None, harness.ADMIN)
    assert code == 200 and b"things_total" in content
    assert headers["Content-Type"].startswith("text/plain; version=")


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
