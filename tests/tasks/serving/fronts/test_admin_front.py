"""Administrators load, pin, unload and list their own tenant's Submodels."""

import pytest

from tests.tasks.serving import fake_server, harness

CHANGES = ("load", "pin", "unload")


@pytest.fixture
def fronts():
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as running:
        yield running


def _ask(fronts, method, path, name):
    headers = {"Authorization": harness.bearer(name)}
    return fronts.http(method, path, None, headers, front="admin")


def test_an_administrator_changes_the_own_tenant(fronts):
    for change in CHANGES:
        code, _, content = _ask(
            fronts, "POST", f"/v1/submodels/anna:{change}", "admin"
        )
        assert code == 200
        assert content.get("submodel_id", "anna") == "anna"
    _ask(fronts, "POST", "/v1/submodels/anna:load", "other")
    assert fronts.server.changes == [
        *((change, "clinic", "anna") for change in CHANGES),
        ("load", "other", "anna"),
    ]


def test_an_administrator_lists(fronts):
    code, _, content = _ask(fronts, "GET", "/v1/submodels", "admin")
    assert code == 200
    assert content["submodels"][0] == {
        "submodel_id": "anna",
        "submodel_version": "1-abc",
        "base_fingerprint": "f" * 64,
        "num_bytes": 16,
        "pinned": False,
        "in_use": 0,
    }


def test_others_may_not(fronts):
    for change in CHANGES:
        path = f"/v1/submodels/anna:{change}"
        assert _ask(fronts, "POST", path, "anna")[0] == 403
    assert _ask(fronts, "GET", "/v1/submodels", "anna")[0] == 403
    assert fronts.server.changes == []


def test_the_models_are_not_on_the_admin_port(fronts):
    code, _, _ = _ask(fronts, "POST", "/v1/models/submodels:predict", "admin")
    assert code == 400
