"""Who may do what: credentials bound to a tenant and its speakers.

The README of `tasks/serving` shows the credentials file. It holds no secrets,
only hashes of tokens and names of client certificates. A certificate is
recognised by one of its subject alternative names (DNS name, URI or e-mail
address), never by its common name.
"""

import hashlib
import os
import re
from collections import abc
from typing import Any, TypeAlias

from lingvo_like import json_values
from lingvo_like.store import store as submodel_store
from tasks.serving import errors, messages

MAX_FILE_BYTES = 1 << 26
_BEARER = re.compile(r"Bearer +([A-Za-z0-9\-._~+/]{1,4096}=*)", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FLAGS = ("admin", "operator")
_KEYS = {"name", "token_sha256", "certificate", "tenant", "speakers", *_FLAGS}


class AccessControl:
    """Finds the caller behind a request's credentials; see `read`.

    Args:
        tokens: callers by the SHA-256 of their token, in hex.
        certificates: callers by a subject alternative name.
    """

    is_on = True

    def __init__(
        self,
        tokens: abc.Mapping[str, messages.Caller],
        certificates: abc.Mapping[str, messages.Caller],
    ) -> None:
        self._tokens = tokens
        self._certificates = certificates

    @property
    def has_certificates(self) -> bool:
        """Whether a certificate is anyone's credential."""
        return bool(self._certificates)

    def authenticate(
        self,
        authorization: str | None,
        certificate_names: abc.Iterable[str] = (),
    ) -> messages.Caller:
        """The caller; a token takes precedence over a certificate.

        A refusal does not say which part of a credential was wrong.

        Args:
            certificate_names: subject alternative names of a client
                certificate that TLS has verified already.
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

    def _by_token(self, authorization: str) -> messages.Caller:
        match = _BEARER.fullmatch(authorization.strip())
        if match is None:
            raise _unauthenticated("the authorization must read `Bearer TOKEN`")
        digest = hashlib.sha256(match[1].encode()).hexdigest()
        # The time that a dict takes can at most reveal the digest, and that is
        # of no use to anyone who cannot break SHA-256.
        caller = self._tokens.get(digest)
        if caller is None:
            raise _unauthenticated("the credential is not known here")
        return caller


class NoAccessControl:
    """Lets everyone do everything, as one tenant; for loopback only.

    Raises:
        ValueError: the tenant's id is not valid.
    """

    is_on = False
    has_certificates = False

    def __init__(self, tenant: str) -> None:
        submodel_store.check_id("tenant", tenant)
        self._caller = messages.Caller(
            tenant, is_admin=True, is_operator=True, name="anyone"
        )

    def authenticate(
        self,
        authorization: str | None,
        certificate_names: abc.Iterable[str] = (),
    ) -> messages.Caller:
        """The same caller for everyone."""
        return self._caller


Control: TypeAlias = AccessControl | NoAccessControl


def read(path: str | os.PathLike[str]) -> AccessControl:
    """Access control by a credentials file.

    Raises:
        ValueError: names the file, the credential and what is wrong with it.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"must have at most {MAX_FILE_BYTES} bytes")
        return from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_json(text: str) -> AccessControl:
    """As `read`, from the file's text."""
    content = json_values.strict_json(text)
    if not isinstance(content, dict) or set(content) != {"credentials"}:
        raise ValueError('must be {"credentials": [...]}')
    if not isinstance(content["credentials"], list):
        raise ValueError("`credentials` must be a list")
    callers = {"token_sha256": {}, "certificate": {}}
    for place, entry in enumerate(content["credentials"]):
        try:
            known, key, caller = _credential(entry)
        except ValueError as error:
            raise ValueError(f"credential {place}: {error}") from None
        if key in callers[known]:
            raise ValueError(
                f"credential {place}: its `{known}` is there twice"
            )
        callers[known][key] = caller
    if not content["credentials"]:
        raise ValueError("has no credential: nobody could use this server")
    return AccessControl(callers["token_sha256"], callers["certificate"])


def _unauthenticated(message: str) -> errors.ServingError:
    return errors.ServingError(errors.Code.UNAUTHENTICATED, message)


def _credential(entry: Any) -> tuple[str, str, messages.Caller]:
    """A credential's kind, its value, and the caller that it stands for."""
    if not isinstance(entry, dict):
        raise ValueError("must be an object")
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise ValueError(f"unknown keys {unknown}; known: {sorted(_KEYS)}")
    if ("token_sha256" in entry) == ("certificate" in entry):
        raise ValueError("needs `token_sha256` or `certificate`, one of them")
    known = "certificate" if "certificate" in entry else "token_sha256"
    for key in ("name", "tenant", known):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise ValueError(f"needs `{key}`, a string")
    if known == "token_sha256" and not _SHA256.fullmatch(entry[known]):
        raise ValueError(
            "`token_sha256` must be 64 lower-case hexadecimal digits; never "
            "put the token itself here"
        )
    for flag in _FLAGS:
        if not isinstance(entry.get(flag, False), bool):
            raise ValueError(f"`{flag}` must be true or false")
    submodel_store.check_id("tenant", entry["tenant"])
    caller = messages.Caller(
        tenant=entry["tenant"],
        speakers=_speakers(entry.get("speakers")),
        is_admin=entry.get("admin", False),
        is_operator=entry.get("operator", False),
        name=entry["name"],
    )
    return known, entry[known], caller


def _speakers(value: Any) -> frozenset[str] | None:
    """A credential's speakers; None for all of them."""
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
