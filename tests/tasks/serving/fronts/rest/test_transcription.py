"""A recording's file goes in as it is, alone or as base64 in JSON."""

import base64
import gzip

import pytest

from tasks.serving import errors
from tests.tasks.serving import harness

PATH = "/v1/models/submodels:transcribe"
WHO = {**harness.ANNA, "X-Submodel-Id": "anna"}
FILE = b"RIFF and the rest"


def _post(fronts, body=FILE, headers=WHO, path=PATH):
    return fronts.http("POST", path, body, headers)


def _b64(data):
    return {"b64": base64.b64encode(data).decode()}


def test_a_file_is_answered_with_its_text_and_what_served_it(fronts):
    for path in (PATH, PATH.replace(":", "/versions/3:")):
        code, headers, content = _post(fronts, path=path)
        assert code == 200
        assert content == {
            "text": "anna:17 bytes",
            "score": -0.5,
            "status": "OK",
            "submodel_version": "7-anna",
            "served_by": "submodel",
            "model_version": 3,
        }
        assert headers["X-Submodel-Version"] == "7-anna"
    assert fronts.server.seen[-1][1].version == 3


@pytest.mark.parametrize(
    "query, is_text",
    [("?format=text", True), ("?format=json", False), ("", False)],
)
def test_the_text_comes_alone_where_that_is_asked_for(fronts, query, is_text):
    code, headers, content = _post(fronts, headers=WHO, path=PATH + query)
    assert code == 200
    assert (content == b"anna:17 bytes\n") == is_text
    if is_text:
        assert headers["Content-Type"].startswith("text/plain")
        assert headers["X-Status"] == "OK"
        assert headers["X-Served-By"] == "submodel"


@pytest.mark.parametrize(
    "query, language",
    [("?language=es", "es"), ("?language=pt-BR&format=text", "pt"), ("", "")],
)
def test_a_parameter_names_the_language(fronts, query, language):
    code, _, _ = _post(fronts, path=PATH + query)
    assert code == 200
    [utterance] = fronts.server.seen[-1][2]
    assert utterance.language == language


def test_a_status_is_never_lost(fronts):
    fronts.server.status = "CUT: é"
    assert _post(fronts)[2]["status"] == "CUT: é"
    _, headers, _ = _post(fronts, path=PATH + "?format=text")
    assert headers["X-Status"] == r"CUT: \xe9"
    fronts.server.status = "the audio is silent"
    for query in ("", "?format=text"):
        code, _, content = _post(fronts, path=PATH + query)
        assert code == 400 and content == {"error": "the audio is silent"}


def test_a_file_that_a_form_changed_is_refused_with_the_way_to_send_it(fronts):
    fault = "not readable as audio: no known format"
    fronts.server.error = errors.invalid_argument(fault)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    code, _, content = _post(fronts, headers={**WHO, **form})
    assert code == 400 and "--data-binary @FILE" in content["error"]
    plain = {"Content-Type": "audio/flac"}
    code, _, content = _post(fronts, headers={**WHO, **plain})
    assert code == 400 and content == {"error": fault}


def test_nobodys_submodel_is_asked_for_by_name(fronts):
    code, _, content = _post(
        fronts, headers=harness.ANNA, path=PATH + "?base=true"
    )
    assert code == 200
    assert content["text"] == ":17 bytes" and content["served_by"] == "base"
    for headers, query in ((harness.ANNA, ""), (WHO, "?base=true")):
        code, _, content = _post(fronts, headers=headers, path=PATH + query)
        assert code == 400 and "say whose Submodel" in content["error"]


@pytest.mark.parametrize(
    "query, headers, code, message",
    [
        ("?submodel_id=anna", {}, 400, "no parameter 'submodel_id'"),
        ("?format=srt", {}, 400, "must be json or text"),
        ("?language=english", {}, 400, "code of two or three letters"),
        ("?language=es&language=de", {}, 400, "one code, such as en or es"),
        ("?format=text&format=json", {}, 400, "once"),
        ("", {"Content-Type": "application/json"}, 415, ":predict"),
        ("", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "@FILE"),
        ("", {"Content-Encoding": "br"}, 400, "must be gzip"),
        ("", {"X-Submodel-Id": "ben"}, 403, "not your speaker"),
        ("", {"Authorization": "Bearer x"}, 401, "not known"),
    ],
)
def test_a_wrong_head_is_refused_before_the_body_is_read(
    fronts, query, headers, code, message
):
    headers = {**WHO, **headers, "Content-Length": "1000"}
    lines = "".join(f"{name}: {each}\r\n" for name, each in headers.items())
    # Nothing of the body is ever sent.
    head = f"POST {PATH}{query} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
    with fronts.raw(head) as connection:
        answer = harness.everything(connection, until=b"}").decode()
    assert answer.split()[1] == str(code), answer
    assert message in answer
    assert not fronts.server.seen


def test_an_empty_body_says_how_to_send_one(fronts):
    code, _, content = _post(fronts, b"")
    assert code == 400 and "--data-binary @FILE" in content["error"]


def test_another_method_is_told_which_it_takes(fronts):
    code, _, content = fronts.http("PUT", PATH, FILE, WHO)
    assert code == 400 and content["error"].endswith("; it takes POST")


def test_a_gzipped_file_is_read(fronts):
    headers = {**WHO, "Content-Encoding": "gzip"}
    code, _, content = _post(fronts, gzip.compress(FILE), headers)
    assert code == 200 and content["text"] == "anna:17 bytes"


def test_what_inflates_is_counted(fronts):
    size = harness.LIMITS.max_request_bytes
    body = gzip.compress(bytes(size))
    fronts.intake._max_bytes, before = size - 1, fronts.intake._max_bytes
    try:
        code, _, _ = _post(fronts, body, {**WHO, "Content-Encoding": "gzip"})
    finally:
        fronts.intake._max_bytes = before
    assert code == 429 and fronts.intake.num_bytes == 0


# One is long.
@pytest.mark.parametrize("data", [FILE, bytes(range(256)) * 3000])
@pytest.mark.parametrize("is_row_format", [True, False])
def test_recordings_come_as_base64(fronts, data, is_row_format):
    body = {"inputs": {"audio": [_b64(data), _b64(FILE)]}}
    if is_row_format:
        body = {"instances": [{"audio": _b64(each)} for each in (data, FILE)]}
    code, _, content = fronts.predict(body, WHO)
    assert code == 200, content
    [(_, _, rows, _)] = fronts.server.seen
    assert [row.audio for row in rows] == [data, FILE]
    assert [row.submodel_id for row in rows] == ["anna", "anna"]


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_one_recording_needs_no_name(fronts, key):
    value = [_b64(FILE)] if key == "instances" else _b64(FILE)
    code, _, content = fronts.predict({key: value}, WHO)
    assert code == 200, content
    assert "anna:17 bytes" in str(content)


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"audio": _b64(FILE), "length": [3]}, "'length' is of samples"),
        ({"audio": _b64(FILE), "sample_rate": 8000}, "'sample_rate' is of"),
        ({"audio": [_b64(FILE), _b64(b"")]}, "recording of 0 bytes"),
        ({"audio": [[_b64(FILE)]]}, "must hold numbers"),
        ({"audio": [_b64(FILE), "UklGRg=="]}, "file goes as"),
        ({"audio": "UklGRg=="}, 'file goes as {"b64": BASE64}'),
        ({"audio": [{"b64": "?"}]}, "base64 -w 0"),
        ({"audio": [{"b64": "?" * 2000}]}, "base64 -w 0"),
        ({"audio": [_b64(FILE)] * 9}, "1 to 8 utterances"),
        ({"audio": [0.5] * 2000}, "for one utterance it is [1, 2000]"),
        ({"audio": [0.5]}, "for one utterance it is [1, 1]"),
        ({"audio": [[0.5]], "length": 1}, "for one utterance it is [1]"),
        ({"audio": [[[0.5]]]}, "at most 2 dimensions"),
    ],
)
def test_a_wrong_audio_is_refused_with_its_reason(fronts, inputs, message):
    code, _, content = fronts.predict({"inputs": inputs}, WHO)
    assert code == 400
    assert message in content["error"]
    assert not fronts.server.seen
