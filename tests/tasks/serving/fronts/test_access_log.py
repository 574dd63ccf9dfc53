"""The access log never delays a request and never names anyone."""

import json
import os
import time

import pytest

from tasks.serving import errors, messages
from tasks.serving.fronts import access_log

KEY = b"0123456789abcdef"


def _entry(**fields):
    entry = access_log.Entry("rest", "POST /v1/x")
    entry.caller = messages.Caller("clinic", name="app")
    for name, value in fields.items():
        setattr(entry, name, value)
    return entry


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_same_user_has_the_same_hash_under_the_same_key(tmp_path):
    hashes = []
    for number, (key, tenant) in enumerate(
        [(KEY, "a"), (KEY, "a"), (KEY, "b"), (None, "a"), (None, "a")]
    ):
        path = tmp_path / str(number)
        log = access_log.AccessLog(str(path), key)
        entry = _entry(submodel_ids=frozenset(["anna"]))
        entry.caller = messages.Caller(tenant)
        log.write(entry)
        log.close()
        hashes += _lines(path)[0]["submodels"]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="at least 16 bytes. Received: 15"):
        access_log.AccessLog("", KEY[:-1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_costs_only_lines():
    log = access_log.AccessLog("/dev/full")
    for _ in range(10):
        log.write(_entry())
    log.close()
    assert log.dropped == 10


def test_a_disk_that_hangs_costs_only_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(access_log, "MAX_WAITING", 4)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = access_log.AccessLog(str(path))
    started = time.monotonic()
    # A pipe that nobody reads holds some 64 KiB.
    for _ in range(2000):
        log.write(_entry())
    assert time.monotonic() - started < 30
    assert log.dropped > 0
    os.close(reader)
    log.close()


@pytest.mark.parametrize(
    "traceparent, is_known",
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True),
        ("cc-" + "a" * 32 + "-" + "b" * 16 + "-01-more", True),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "0" * 16 + "-01", False),
        ("00-" + "A" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01\n", False),
        ("", False),
        (None, False),
    ],
)
def test_only_w3c_traces_are_taken(traceparent, is_known):
    entry = access_log.Entry("rest", "x", traceparent)
    assert (entry.trace_id is not None) == is_known
    assert bool(entry.answer_headers) == is_known


def test_a_line_tells_what_was_asked_and_how_it_ended(tmp_path):
    path = tmp_path / "log"
    log = access_log.AccessLog(str(path), KEY)
    log.write(_entry(code=errors.Code.NOT_FOUND, http=404, request_bytes=9))
    log.close()
    (line,) = _lines(path)
    assert line["code"] == "NOT_FOUND" and line["http"] == 404
    assert line["request_bytes"] == 9 and line["duration_ms"] >= 0
    assert "trace_id" not in line and line["caller"] == "app"
