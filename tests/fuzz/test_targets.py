"""The fuzz targets take valid inputs, and a fault in one is found."""

import pytest

from tasks.serving import errors
from tests.fuzz import cases, targets


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_some_seeds_are_valid_and_none_is_a_finding(name):
    checked = [targets.check(name, seed) for seed in cases.seeds(name)]
    assert any(is_taken for is_taken, _ in checked)
    assert [finding for _, finding in checked if finding] == []


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_a_few_hundred_cases_end_as_intended(name):
    drawn = cases.draw(name, 200, seed=0)
    assert len(drawn) >= 200 and len(set(drawn)) > 100
    findings = [targets.check(name, data)[1] for data in drawn]
    assert "\n".join(str(each) for each in findings if each) == ""


@pytest.mark.parametrize(
    "error, told",
    [
        (KeyError("x"), "KeyError"),
        (MemoryError(), "MemoryError"),
        (RecursionError("deep"), "RecursionError"),
        (errors.internal("no"), "INTERNAL"),
        (
            errors.invalid_argument('File "/srv/tasks/x.py", line 3'),
            "message with",
        ),
    ],
)
def test_faults_are_found(monkeypatch, error, told):
    def broken(data):
        raise error

    monkeypatch.setitem(targets.TARGETS, "json_request", broken)
    is_taken, finding = targets.check("json_request", b"{}")
    assert not is_taken
    assert told in str(finding)


def test_edits_change_what_they_say():
    data = b"0123456789"
    assert cases.altered(data, [("set", 0.2, b"ab")]) == b"01ab456789"
    assert cases.altered(data, [("insert", 0.5, b"--")]) == b"01234--56789"
    assert cases.altered(data, [("cut", 0.3, b"")]) == b"012"
    assert cases.altered(data, [("drop", 0.0, 1.0)]) == b"23456789"
    assert cases.altered(data, [("repeat", 0.0, 1.0)]) == (
        b"01" * 16 + b"23456789"
    )
