"""Administrators load, pin, unload and list their own tenant's Submodels."""

import pytest

from tests.tasks.serving import harness

CHANGES = ("load", "pin", "unload")


def _ask(fronts, method, path, name):
    headers = {"Authorization": harness.bearer(name)}
    return fronts.http(method, path, None, headers, front="admin")


def test_an_administrator_changes_only_its_own_tenant(fronts):
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


def _load(fronts, body, name="admin"):
    headers = {"Authorization": harness.bearer(name)}
    return fronts.http(
        "POST", "/v1/submodels:load", body, headers, front="admin"
    )


def test_many_are_loaded_in_their_order_each_once(fronts):
    code, _, content = _load(
        fronts, b'{"submodel_ids": ["bea", "anna", "bea"]}'
    )
    assert code == 200
    assert [e["submodel_id"] for e in content["submodels"]] == ["bea", "anna"]
    assert content["errors"] == {}
    assert fronts.server.changes == [
        ("load", "clinic", "bea"),
        ("load", "clinic", "anna"),
    ]


def test_a_submodel_that_fails_to_load_leaves_the_others(fronts):
    fronts.server.missing = {"nobody"}
    code, _, content = _load(fronts, b'{"submodel_ids": ["nobody", "anna"]}')
    assert code == 200
    assert [e["submodel_id"] for e in content["submodels"]] == ["anna"]
    assert content["errors"] == {
        "nobody": {"code": "NOT_FOUND", "error": "no Submodel of nobody"}
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"submodel_ids": []}',
        b'{"submodel_ids": "anna"}',
        b'{"submodel_ids": ["anna", 1]}',
        b'{"submodel_ids": ["anna"], "pin": true}',
        b'{"submodel_ids": [1, 2, 3]}',
        b'{"submodel_ids": ["' + b"a" * 2000 + b'"]}',
        b'{"submodel_ids": [' + b",".join([b'"a"'] * 1001) + b"]}",
    ],
)
def test_a_body_without_a_list_of_names_loads_nothing(fronts, body):
    code, _, content = _load(fronts, body)
    assert code == 400
    assert "submodel_ids" in content["error"] or "JSON" in content["error"]
    assert fronts.server.changes == []


def test_callers_without_admin_are_refused(fronts):
    assert _load(fronts, b'{"submodel_ids": ["anna"]}', "anna")[0] == 403
    for change in CHANGES:
        path = f"/v1/submodels/anna:{change}"
        assert _ask(fronts, "POST", path, "anna")[0] == 403
    assert _ask(fronts, "GET", "/v1/submodels", "anna")[0] == 403
    assert fronts.server.changes == []


def test_the_models_are_not_on_the_admin_port(fronts):
    code, _, _ = _ask(fronts, "POST", "/v1/models/submodels:predict", "admin")
    assert code == 400
