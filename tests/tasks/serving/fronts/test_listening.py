"""Where it is safe to listen, and whom TLS identifies."""

import http.client
import json
import ssl

import grpc
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
)

from tasks.serving.fronts import access, listening
from tests.tasks.serving import certificates, fake_server, harness

MODEL = "/v1/models/submodels"


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("127.0.0.1:8500", "127.0.0.1", 8500),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
        ("0.0.0.0:1", "0.0.0.0", 1),
    ],
)
def test_addresses_are_read_and_written(text, host, port):
    address = listening.parse("grpc_address", text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", [":1", "a", "a:", "a:x", "a:65536", "::1:8500", "a:-1", "a:²"]
)
def test_a_wrong_address_names_its_flag(text):
    with pytest.raises(ValueError, match="--grpc_address must be HOST:PORT"):
        listening.parse("grpc_address", text)


def test_no_address_is_none():
    assert listening.parse("grpc_address", "") is None


@pytest.mark.parametrize(
    "host, is_loopback",
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("no-such-host.invalid", False),
    ],
)
def test_loopback_is_known_by_its_address(host, is_loopback):
    assert listening.Address(host, 1).is_loopback == is_loopback


def test_nobody_listens_to_others_without_access_control():
    here, there = listening.Address("127.0.0.1", 1), listening.Address("::", 2)
    tls, no_tls = listening.Tls("a", "b"), listening.Tls()
    off, on = access.NoAccessControl("house"), harness.access_control()
    for addresses in ([there], [None, here, there]):
        with pytest.raises(ValueError, match=r"listen on \[::\]:2 without"):
            listening.notices(addresses, off, tls)
    (notice,) = listening.notices([here], off, no_tls)
    assert "no --access_file" in notice
    (notice,) = listening.notices([here, there], on, no_tls)
    assert notice.startswith("warning: ") and "has no TLS" in notice
    assert listening.notices([here, there], on, tls) == []
    assert listening.notices([here], on, no_tls) == []


def test_certificates_are_credentials_only_where_they_are_verified():
    control = _control()
    with pytest.raises(ValueError, match="give --tls_client_ca"):
        listening.notices([], control, listening.Tls("a", "b"))
    assert listening.notices([], control, listening.Tls("a", "b", "c")) == []


def test_a_certificate_without_its_key_is_refused():
    for half in ({"certificate": "a"}, {"private_key": "a"}):
        with pytest.raises(ValueError, match="and its private key"):
            listening.Tls(**half)
    with pytest.raises(ValueError, match="server's certificate"):
        listening.Tls(client_ca="a")


def test_files_that_are_no_certificates_are_named(tmp_path):
    path = tmp_path / "a.pem"
    path.write_text("nonsense")
    with pytest.raises(OSError, match="a.pem"):
        listening.Tls(str(path), str(path)).for_http()
    with pytest.raises(OSError, match="b.pem"):
        listening.Tls(str(tmp_path / "b.pem"), str(path)).for_grpc()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = certificates.Authority(tmp_path_factory.mktemp("certificates"))
    made.issue("server", "127.0.0.1")
    made.issue("known", "app.clinic.example")
    made.issue("unknown", "stranger.example")
    other = tmp_path_factory.mktemp("other")
    made.other = certificates.Authority(other)
    made.other.issue("known", "app.clinic.example")
    return made


def _control():
    entry = {
        "name": "app",
        "certificate": "app.clinic.example",
        "tenant": "clinic",
        "speakers": "*",
    }
    return access.from_json(json.dumps({"credentials": [entry]}))


@pytest.fixture(scope="module")
def fronts(authority):
    control = _control()
    tls = listening.Tls(
        authority.path("server.crt"),
        authority.path("server.key"),
        authority.path("ca.crt"),
    )
    with harness.Fronts(fake_server.FakeServer(), control, tls) as running:
        yield running


def _get(fronts, authority, path, client=None):
    context = ssl.create_default_context(cafile=authority.path("ca.crt"))
    if client:
        context.load_cert_chain(
            client.path("known.crt"), client.path("known.key")
        )
    connection = http.client.HTTPSConnection(
        "127.0.0.1", fronts.ports["rest"], context=context, timeout=60
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_certificate_lets_its_owner_in_over_http(fronts, authority):
    assert _get(fronts, authority, MODEL, authority) == 200
    assert _get(fronts, authority, MODEL) == 401
    assert _get(fronts, authority, "/ready") == 200


def test_a_strangers_certificate_does_not(fronts, authority):
    context = ssl.create_default_context(cafile=authority.path("ca.crt"))
    context.load_cert_chain(
        authority.path("unknown.crt"), authority.path("unknown.key")
    )
    connection = http.client.HTTPSConnection(
        "127.0.0.1", fronts.ports["rest"], context=context, timeout=60
    )
    connection.request("GET", MODEL)
    assert connection.getresponse().status == 401
    connection.close()
    with pytest.raises(OSError):
        _get(fronts, authority, MODEL, authority.other)


def _grpc_status(fronts, authority, owner=None, name="known"):
    pair = (
        (owner.read(f"{name}.key"), owner.read(f"{name}.crt")) if owner else ()
    )
    credentials = grpc.ssl_channel_credentials(authority.read("ca.crt"), *pair)
    address = f"127.0.0.1:{fronts.ports['grpc']}"
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "submodels"
    with grpc.secure_channel(address, credentials) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            stub.GetModelStatus(request, timeout=30)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_a_certificate_lets_its_owner_in_over_grpc(fronts, authority):
    assert _grpc_status(fronts, authority, authority) == "OK"
    unknown = _grpc_status(fronts, authority, authority, "unknown")
    assert unknown == "UNAUTHENTICATED"
    # The handshake fails already.
    for owner in (None, authority.other):
        assert _grpc_status(fronts, authority, owner) in (
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
        )
