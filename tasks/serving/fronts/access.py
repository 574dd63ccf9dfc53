"""Who may do what: credentials bound to a tenant and its speakers.

The credentials file is JSON and holds no secret, only hashes of tokens and
names of client certificates:

    {"credentials": [
      {"name": "clinic app", "token_sha256": "9f86d0...", "tenant": "clinic",
       "speakers": ["anna", "ben"]},
      {"name": "operations", "certificate": "ops.clinic.example",
       "tenant": "clinic", "speakers": "*", "admin": true, "operator": true}
    ]}

A token's hash is `printf %s "$TOKEN" | sha256sum`. Tokens must be random, as
from `openssl rand -hex 32`: nothing here slows guessing down. A certificate
is known by one of its subject alternative names (DNS name, URI or e-mail
address); its common name is not looked at.
"""

import hashlib
import os
import re

from lingvo_like import json_values
from lingvo_like.store import store as submodel_store
from tasks.serving import errors, messages

MAX_FILE_BYTES = 1 << 26
_BEARER = re.compile(r"Bearer +([A-Za-z0-9\-._~+/]{1,4096}=*)", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FLAGS = ("admin", "operator")
_KEYS = {"name", "token_sha256", "certificate", "tenant", "speakers", *_FLAGS}


class AccessControl:
    """Tells the `messages.Caller` behind a request's credentials."""

    def __init__(self, tokens, certificates):
        """Takes what `read` found; see there.

        Args:
            tokens: dict of SHA-256 in hex to `messages.Caller`.
            certificates: dict of a subject alternative name to `Caller`.
        """
        self._tokens = tokens
        self._certificates = certificates

    is_on = True

    @property
    def has_certificates(self):
        """Whether anyone is known by a certificate."""
        return bool(self._certificates)

    def authenticate(self, authorization, certificate_names=()):
        """The caller; a token counts more than a certificate.

        Args:
            authorization: string, the header's value, or None.
            certificate_names: subject alternative names of a client
                certificate that TLS has verified already.

        Raises:
            status.ServingError: UNAUTHENTICATED, without saying which part of
                a credential was wrong.
        """
        if authorization is not None:
            return self._by_token(authorization)
        found = {
            id(caller): caller
            for name in certificate_names
            if (caller := self._certificates.get(name)) is not None
        }
        if len(found) == 1:
            return next(iter(found.values()))
        raise _unauthenticated(
            "no credential: send `Authorization: Bearer TOKEN` or use a known "
            "client certificate"
        )

    def _by_token(self, authorization):
        match = _BEARER.fullmatch(authorization.strip())
        if match is None:
            raise _unauthenticated("the authorization must read `Bearer TOKEN`")
        digest = hashlib.sha256(match[1].encode()).hexdigest()
        # How long the look-up takes tells of the digest at most, and whoever
        # can choose a digest has broken SHA-256; so a dict does.
        caller = self._tokens.get(digest)
        if caller is not None:
            return caller
        raise _unauthenticated("the credential is not known here")


class NoAccessControl:
    """Lets everyone do everything, as one tenant; for loopback alone."""

    is_on = False
    has_certificates = False

    def __init__(self, tenant):
        """Raises ValueError where the tenant's id is not one."""
        submodel_store.check_id("tenant", tenant)
        self._caller = messages.Caller(
            tenant=tenant,
            speakers=None,
            is_admin=True,
            is_operator=True,
            name="anyone",
        )

    def authenticate(self, authorization, certificate_names=()):
        """The one caller that there is."""
        del authorization, certificate_names
        return self._caller


def read(path):
    """Access control by a credentials file.

    Raises:
        ValueError: names the file and what is wrong with which credential.
        OSError: it cannot be read.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"must have at most {MAX_FILE_BYTES} bytes")
        return from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_json(text):
    """As `read`, of the file's text."""
    content = json_values.strict_json(text)
    if not isinstance(content, dict) or set(content) != {"credentials"}:
        raise ValueError('must be {"credentials": [...]}')
    if not isinstance(content["credentials"], list):
        raise ValueError("`credentials` must be a list")
    tokens, certificates = {}, {}
    for place, entry in enumerate(content["credentials"]):
        try:
            known, key, caller = _credential(entry)
        except ValueError as error:
            raise ValueError(f"credential {place}: {error}") from None
        owners = tokens if known == "token_sha256" else certificates
        if key in owners:
            raise ValueError(
                f"credential {place}: its `{known}` is there twice"
            )
        owners[key] = caller
    if not tokens and not certificates:
        raise ValueError("has no credential: nobody could use this server")
    return AccessControl(tokens, certificates)


def _unauthenticated(message):
    return errors.ServingError(errors.Code.UNAUTHENTICATED, message)


def _credential(entry):
    """Which key, its value, and the caller that it stands for."""
    if not isinstance(entry, dict):
        raise ValueError("must be an object")
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise ValueError(f"unknown keys {unknown}; known: {sorted(_KEYS)}")
    known = [key for key in ("token_sha256", "certificate") if key in entry]
    if len(known) != 1:
        raise ValueError("needs `token_sha256` or `certificate`, one of them")
    for key in ("name", "tenant", known[0]):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise ValueError(f"needs `{key}`, a string")
    if known[0] == "token_sha256" and not _SHA256.fullmatch(entry[known[0]]):
        raise ValueError(
            "`token_sha256` must be 64 lower-case hexadecimal digits; never "
            "put the token itself here"
        )
    for flag in _FLAGS:
        if not isinstance(entry.get(flag, False), bool):
            raise ValueError(f"`{flag}` must be true or false")
    submodel_store.check_id("tenant", entry["tenant"])
    return (
        known[0],
        entry[known[0]],
        messages.Caller(
            tenant=entry["tenant"],
            speakers=_speakers(entry.get("speakers")),
            is_admin=entry.get("admin", False),
            is_operator=entry.get("operator", False),
            name=entry["name"],
        ),
    )


def _speakers(value):
    """The frozen set of a credential's speakers; None is all of them."""
    if value == "*":
        return None
    if not isinstance(value, list):
        raise ValueError('needs `speakers`, a list of ids, or "*" for all')
    for speaker in value:
        if not isinstance(speaker, str):
            raise ValueError(
                f"speakers must be strings. Received: {speaker!r}."
            )
        submodel_store.check_id("speaker", speaker)
    return frozenset(value)
