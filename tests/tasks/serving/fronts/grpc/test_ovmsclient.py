"""OpenVINO's client for TensorFlow Serving talks to the fronts unchanged."""

import numpy as np
import ovmsclient
import pytest

from tests.tasks.serving import fake_server, harness

INPUTS = {
    "audio": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    "length": np.array([2, 3], np.int32),
    "submodel_id": np.array([b"anna", b"ben"]),
}


@pytest.fixture(scope="module")
def fronts():
    with harness.Fronts(fake_server.FakeServer()) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(request, fronts):
    if request.param == "grpc":
        make, port = ovmsclient.make_grpc_client, fronts.ports["grpc"]
    else:
        make, port = ovmsclient.make_http_client, fronts.ports["rest"]
    return make(f"127.0.0.1:{port}")


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def test_it_predicts(client):
    outputs = client.predict(INPUTS, "submodels")
    assert [_text(each) for each in outputs["text"]] == ["anna:2", "ben:3"]
    np.testing.assert_array_equal(outputs["score"], [3.0, 15.0])
    assert [_text(each) for each in outputs["submodel_version"]] == [
        "7-anna",
        "7-ben",
    ]


def test_it_reads_the_status(client):
    statuses = client.get_model_status("submodels", 3)
    assert statuses[3]["state"] == "AVAILABLE"
    assert statuses[2]["error_message"] == "broken"


def test_it_reads_errors(client):
    with pytest.raises(ovmsclient.ModelNotFoundError):
        client.get_model_status("another")
    wrong = {**INPUTS, "length": np.array([9, 9], np.int32)}
    with pytest.raises(ovmsclient.InvalidInputError, match="1 to 3"):
        client.predict(wrong, "submodels")


def test_it_reads_metadata_over_grpc(fronts):
    client = ovmsclient.make_grpc_client(f"127.0.0.1:{fronts.ports['grpc']}")
    metadata = client.get_model_metadata("submodels")
    assert metadata["model_version"] == 3
    assert metadata["inputs"]["audio"] == {
        "shape": [-1, -1],
        "dtype": "DT_FLOAT",
    }
    assert metadata["outputs"]["served_by"]["dtype"] == "DT_STRING"
