"""Two tenants share a server, and neither meets the other on any port."""

import hashlib
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tasks.serving.fronts import access
from tests.tasks.serving import harness, real_store

PREDICT = f"/v1/models/{real_store.MODEL}:predict"
# Two whole tenants, and one of the first who may use ann alone.
CREDENTIALS = {
    "north": {"tenant": "north", "speakers": "*", "admin": True},
    "south": {"tenant": "south", "speakers": "*", "admin": True},
    "ann": {"tenant": "north", "speakers": ["ann"], "admin": True},
}
# Both have an ann; only the north has a bea, and only the south a bob.
VALUES = {
    ("north", "ann"): 1,
    ("north", "bea"): 4,
    ("south", "ann"): 2,
    ("south", "bob"): 3,
}


@pytest.fixture(scope="module")
def shared_fronts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tenants")
    entries = [
        {"name": who, "token_sha256": _digest(who), **entry}
        for who, entry in CREDENTIALS.items()
    ]
    access_file = folder / "access.json"
    access_file.write_text(json.dumps({"credentials": entries}))
    root = str(folder / "store")
    for (tenant, speaker), value in VALUES.items():
        real_store.publish(root, tenant, speaker, value)
    server = real_store.make_server(root)
    with harness.Fronts(server, access.read(access_file)) as running:
        running.run(server.start())
        try:
            yield running
        finally:
            running.run(server.close())


@pytest.fixture
def fronts(shared_fronts):
    """The shared fronts, with no Submodel loaded."""
    for tenant in ("north", "south"):
        for speaker in _listed(shared_fronts, tenant):
            assert _change(shared_fronts, tenant, speaker, "unload")[0] == 200
    return shared_fronts


def _digest(who):
    return hashlib.sha256(_token(who).encode()).hexdigest()


def _token(who):
    return f"token-of-{who}"


def _rest(fronts, who, speaker, **more):
    """The text that REST answers with, or (status, message)."""
    inputs = {"audio": [[5.0] * 10], "submodel_id": speaker, **more}
    inputs = {name: each for name, each in inputs.items() if each is not None}
    headers = {"Authorization": f"Bearer {_token(who)}"}
    code, _, content = fronts.http("POST", PREDICT, {"inputs": inputs}, headers)
    if code == 200:
        return content["outputs"]["text"][0].encode()
    return code, content["error"]


def _grpc(fronts, who, speaker):
    """The text that gRPC answers with, or (status, message)."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = real_store.MODEL
    audio = np.full((1, 10), 5, np.float32)
    request.inputs["audio"].CopyFrom(tf.make_tensor_proto(audio))
    metadata = [
        ("authorization", f"Bearer {_token(who)}"),
        ("x-submodel-id", speaker),
    ]
    try:
        response = fronts.prediction().Predict(
            request, timeout=60, metadata=metadata
        )
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return response.outputs["text"].string_val[0]


def _admin(fronts, who, method, path, body=None):
    headers = {"Authorization": f"Bearer {_token(who)}"}
    code, _, content = fronts.http(
        method, f"/v1/submodels{path}", body, headers, front="admin"
    )
    return code, content


def _change(fronts, who, speaker, change):
    code, content = _admin(fronts, who, "POST", f"/{speaker}:{change}")
    return code, json.dumps(content)


def _load_many(fronts, who, speaker):
    body = {"submodel_ids": [speaker]}
    code, content = _admin(fronts, who, "POST", ":load", body)
    return code, json.dumps(content)


def _listed(fronts, who):
    code, content = _admin(fronts, who, "GET", "")
    assert code == 200
    return {
        each["submodel_id"]: each["pinned"] for each in content["submodels"]
    }


ASKS = {
    "rest": _rest,
    "grpc": _grpc,
    "load": lambda *arguments: _change(*arguments, "load"),
    "pin": lambda *arguments: _change(*arguments, "pin"),
    "unload": lambda *arguments: _change(*arguments, "unload"),
    "load_many": _load_many,
}


def test_each_tenant_has_an_ann_of_its_own(fronts):
    for ask in (_rest, _grpc):
        for tenant, value in (("north", 1), ("south", 2), ("north", 1)):
            assert ask(fronts, tenant, "ann") == real_store.text(5, value)


@pytest.mark.parametrize("ask", ASKS)
def test_another_tenants_speaker_looks_like_an_unknown_one(fronts, ask):
    # Ready and pinned in the south, where the north might stumble over it.
    assert _change(fronts, "south", "bob", "pin")[0] == 200
    assert _rest(fronts, "south", "bob") == real_store.text(5, 3)
    code, text = ASKS[ask](fronts, "north", "bob")
    of_nobody = ASKS[ask](fronts, "north", "zed")
    assert (code, text.replace("bob", "zed")) == of_nobody
    assert code in (404, "NOT_FOUND") or ask in ("unload", "load_many")
    # And the south has it still, as it was.
    assert _listed(fronts, "south") == {"bob": True}
    assert _listed(fronts, "north") == {}
    assert _rest(fronts, "south", "bob") == real_store.text(5, 3)


@pytest.mark.parametrize("ask", ASKS)
def test_a_refusal_does_not_reveal_that_a_speaker_exists(fronts, ask):
    assert _change(fronts, "north", "bea", "pin")[0] == 200
    code, text = ASKS[ask](fronts, "ann", "bea")
    of_nobody = ASKS[ask](fronts, "ann", "zed")
    assert (code, text.replace("bea", "zed")) == of_nobody
    assert code in (403, "PERMISSION_DENIED") or ask == "load_many"
    assert _listed(fronts, "ann") == {}
    assert _listed(fronts, "north") == {"bea": True}


def test_a_tenants_changes_leave_the_other_tenants_ann_alone(fronts):
    for tenant in ("north", "south"):
        assert _change(fronts, tenant, "ann", "pin")[0] == 200
    assert _change(fronts, "north", "ann", "unload")[0] == 200
    assert _listed(fronts, "north") == {}
    assert _listed(fronts, "south") == {"ann": True}


def test_nothing_is_overwritten_over_the_ports(fronts):
    assert _rest(fronts, "south", "bob") == real_store.text(5, 3)
    row = [[9.0] * real_store.LAYOUT.num_values]
    code, _ = _rest(fronts, "south", "bob", submodel=row)
    assert code == 400
    sent = _rest(fronts, "north", None, submodel=row)
    assert sent == real_store.text(5, 9)
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        for path in ("/bob", "/bob:publish", "/bob:erase", ""):
            assert _admin(fronts, "north", method, path, {})[0] in (400, 404)
    assert _rest(fronts, "south", "bob") == real_store.text(5, 3)
