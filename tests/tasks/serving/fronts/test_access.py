"""A credential identifies its caller; without one nobody gets in."""

import hashlib
import json

import pytest

from tasks.serving import errors, messages
from tasks.serving.fronts import access

TOKEN = "b1946ac92492d2347c6235b4d2611184"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
ANNA = {
    "name": "app",
    "token_sha256": HASH,
    "tenant": "clinic",
    "speakers": ["anna"],
}
OPS = {
    "name": "ops",
    "certificate": "ops.example",
    "tenant": "clinic",
    "speakers": "*",
    "admin": True,
}


def _control(*credentials):
    return access.from_json(json.dumps({"credentials": credentials}))


def test_a_token_stands_for_its_tenant_and_speakers():
    caller = _control(ANNA, OPS).authenticate(f"Bearer {TOKEN}")
    assert caller == messages.Caller(
        "clinic", frozenset(["anna"]), False, "app"
    )
    assert caller.allows("anna") and not caller.allows("ben")


def test_a_certificate_stands_for_its_tenant():
    control = _control(ANNA, OPS)
    caller = control.authenticate(None, ["other.example", "ops.example"])
    assert caller.is_admin and caller.allows("anyone")
    assert control.has_certificates and control.is_on


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {HASH}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer ünï",
        "Bearer " + "a" * 10_000,
        "Bearer \0",
    ],
)
def test_a_wrong_credential_is_refused_without_telling_why(authorization):
    with pytest.raises(errors.ServingError) as caught:
        _control(ANNA, OPS).authenticate(authorization, ["nobody.example"])
    assert caught.value.code is errors.Code.UNAUTHENTICATED
    assert TOKEN not in caught.value.message


def test_a_wrong_token_does_not_fall_back_on_the_certificate():
    with pytest.raises(errors.ServingError):
        _control(ANNA, OPS).authenticate("Bearer wrong", ["ops.example"])


def test_a_certificate_that_names_two_callers_is_refused():
    control = _control(OPS, {**OPS, "certificate": "b.example", "name": "b"})
    with pytest.raises(errors.ServingError):
        control.authenticate(None, ["ops.example", "b.example"])


@pytest.mark.parametrize(
    "credentials, message",
    [
        ([], "nobody could use"),
        ([ANNA, ANNA], "credential 1: its `token_sha256` is there twice"),
        (["x"], "credential 0: must be an object"),
        ([{**ANNA, "admn": True}], "unknown keys \\['admn'\\]"),
        ([{**ANNA, "certificate": "x"}], "one of them"),
        ([{**ANNA, "token_sha256": TOKEN}], "64 lower-case"),
        ([{**ANNA, "token_sha256": HASH.upper()}], "64 lower-case"),
        ([{**ANNA, "tenant": "../b"}], "credential 0"),
        ([{**ANNA, "tenant": ""}], "needs `tenant`"),
        ([{**ANNA, "name": 3}], "needs `name`"),
        ([{**ANNA, "admin": "yes"}], "`admin` must be"),
        ([{**ANNA, "speakers": "anna"}], "needs `speakers`"),
        ([{**ANNA, "speakers": ["a/b"]}], "credential 0"),
        ([{**ANNA, "speakers": [1]}], "must be strings"),
        ([{k: v for k, v in ANNA.items() if k != "speakers"}], "`speakers`"),
    ],
)
def test_a_wrong_file_is_refused(credentials, message):
    with pytest.raises(ValueError, match=message):
        _control(*credentials)


def test_reading_names_the_file(tmp_path):
    path = tmp_path / "access.json"
    path.write_text('{"credentials": [], "credentials": []}')
    with pytest.raises(ValueError, match="access.json: .*twice"):
        access.read(path)
    with pytest.raises(OSError, match="missing.json"):
        access.read(tmp_path / "missing.json")


def test_without_access_control_everyone_is_one_tenant():
    caller = access.NoAccessControl("house").authenticate(None)
    assert caller.tenant == "house" and caller.allows("anyone")
    with pytest.raises(ValueError):
        access.NoAccessControl("../x")


def test_only_an_administrator_administers():
    control = _control(ANNA, OPS)
    control.authenticate(None, ["ops.example"]).require_admin()
    with pytest.raises(errors.ServingError) as caught:
        control.authenticate(f"Bearer {TOKEN}").require_admin()
    assert caught.value.code is errors.Code.PERMISSION_DENIED
