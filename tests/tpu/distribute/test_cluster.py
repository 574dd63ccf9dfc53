"""`TF_CONFIG` is read, and refused with a reason where it is not whole."""

import json

import pytest

from tests import clusters
from tpu.distribute import cluster


def read(monkeypatch, config):
    text = config if isinstance(config, str) else json.dumps(config)
    monkeypatch.setenv("TF_CONFIG", text)
    return cluster.from_environment()


@pytest.mark.parametrize(
    "config, message",
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[]", 'must have a "cluster" and a "task"'),
        ({"task": {"type": "worker", "index": 0}}, '"cluster" is missing'),
        ({"cluster": clusters.config()["cluster"]}, '"task" is missing'),
        (clusters.config() | {"cluster": {}}, '"cluster" is missing'),
        (
            clusters.config(index=2),
            "worker 0 to 1. Received: type 'worker'",
        ),
        (clusters.config(index=None), "Received: type 'worker', index None"),
        (clusters.config(type="chief"), "Received: type 'chief', index 0"),
        (
            clusters.config() | {"cluster": {"ps": ["a:1"]}},
            "Received: ps: ['a:1']",
        ),
        (clusters.config(["a"]), "Received: worker: ['a']"),
    ],
)
def test_half_a_cluster_is_one_line_that_says_what_is_wrong(
    monkeypatch, config, message
):
    with pytest.raises(ValueError) as raised:
        read(monkeypatch, config)
    assert message in str(raised.value)
    assert str(raised.value).startswith("TF_CONFIG")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("config", ["", {}, clusters.config(["a:1"])])
def test_a_process_alone_has_no_cluster(monkeypatch, config):
    assert read(monkeypatch, config) is None


def test_a_chief_is_the_first_of_all(monkeypatch):
    config = {
        "cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]},
        "task": {"type": "worker", "index": "1"},
    }
    found = read(monkeypatch, config)
    assert found.addresses == ("a:1", "b:1", "c:1")
    assert (found.index, found.task) == (2, "worker 1 of 3")
    config["task"] = {"type": "chief", "index": 0}
    assert read(monkeypatch, config).index == 0
