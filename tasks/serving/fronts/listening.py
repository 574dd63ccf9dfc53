"""Where to listen, and whether that is safe."""

import dataclasses
import ipaddress
import pathlib
import socket
import ssl
from collections import abc

import grpc

from tasks.serving.fronts import access


@dataclasses.dataclass(frozen=True)
class Address:
    """A host and a port; port 0 is any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it, by any of its names."""
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        hosts = [str(each[4][0]).partition("%")[0] for each in found]
        return bool(hosts) and all(
            ipaddress.ip_address(host).is_loopback for host in hosts
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Tls:
    """Paths of PEM files; without any, connections are not encrypted.

    Args:
        certificate: the chain that the server shows.
        client_ca: the authority whose certificates clients may show.

    Raises:
        ValueError: the certificate or the key is missing.
    """

    certificate: str = ""
    private_key: str = ""
    client_ca: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("TLS needs a certificate and its private key")
        if self.client_ca and not self.certificate:
            raise ValueError("client certificates need a server's certificate")

    def __bool__(self) -> bool:
        return bool(self.certificate)

    def for_http(self) -> ssl.SSLContext | None:
        """A server's context; None without TLS.

        It asks for a client certificate but does not demand one, so that live
        and ready stay open and tokens work beside certificates.

        Raises:
            OSError: a file cannot be read, or is not PEM.
        """
        if not self:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.private_key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except ssl.SSLError as error:
            raise OSError(
                f"{self.certificate}, {self.private_key} and {self.client_ca} "
                f"do not work together as PEM files: {error.reason}"
            ) from None
        return context

    def for_grpc(self) -> grpc.ServerCredentials | None:
        """gRPC server credentials; None without TLS.

        With `client_ca`, every client must show a certificate: gRPC's Python
        cannot ask for one without demanding it.

        Raises:
            OSError: a file cannot be read.
        """
        if not self:
            return None
        key = pathlib.Path(self.private_key).read_bytes()
        certificate = pathlib.Path(self.certificate).read_bytes()
        client_ca = None
        if self.client_ca:
            client_ca = pathlib.Path(self.client_ca).read_bytes()
        return grpc.ssl_server_credentials(
            [(key, certificate)], client_ca, client_ca is not None
        )


def parse(flag: str, text: str) -> Address | None:
    """The address in `HOST:PORT` or `[IPV6]:PORT`; None if empty.

    Raises:
        ValueError: names the flag.
    """
    if not text:
        return None
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    is_port = port.isascii() and port.isdigit() and int(port) < 1 << 16
    if not (separator and host and is_port) or (":" in host and not bracketed):
        raise ValueError(
            f"--{flag} must be HOST:PORT or [IPV6]:PORT, such as "
            f"127.0.0.1:8500. Received: {text!r}."
        )
    return Address(host, int(port))


def notices(
    addresses: abc.Iterable[Address | None],
    access_control: access.Control,
    tls: Tls,
) -> list[str]:
    """Lines for the operator on who can reach what, before the server listens.

    Raises:
        ValueError: other machines could reach an address, and nothing would
            decide whose Submodels a request may use; or nobody could verify
            the certificates that are credentials.
    """
    if access_control.has_certificates and not tls.client_ca:
        raise ValueError(
            "--access_file names certificates; give --tls_client_ca"
        )
    outside = [each for each in addresses if each and not each.is_loopback]
    if access_control.is_on:
        if not outside or tls:
            return []
        return [
            f"warning: {outside[0]} has no TLS: tokens and speech are sent in "
            "the clear unless a proxy encrypts them. --tls_certificate turns "
            "TLS on."
        ]
    if outside:
        raise ValueError(
            f"refusing to listen on {outside[0]} without access control: "
            "anyone who reaches it could use everyone's Submodel. Give "
            "--access_file, or listen on 127.0.0.1."
        )
    return [
        "no --access_file: only programs of this machine can connect, and each "
        "may use and unload every Submodel; see tasks/serving/README.md"
    ]
