"""Where to listen, and whether that is safe."""

import dataclasses
import ipaddress
import socket
import ssl

import grpc


@dataclasses.dataclass(frozen=True)
class Address:
    """A host and a port; 0 for any port that is free."""

    host: str
    port: int

    @property
    def is_loopback(self):
        """Whether nothing but this machine reaches it, by any of its names."""
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        return bool(found) and all(
            ipaddress.ip_address(each[4][0].partition("%")[0]).is_loopback
            for each in found
        )

    def __str__(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Tls:
    """What TLS needs, PEM files' paths; empty for none.

    Args:
        certificate: string, the chain that the server shows.
        private_key: string.
        client_ca: string, whose certificates clients may show.

    Raises:
        ValueError: one of certificate and key is missing.
    """

    certificate: str = ""
    private_key: str = ""
    client_ca: str = ""

    def __post_init__(self):
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("TLS needs a certificate and its private key")
        if self.client_ca and not self.certificate:
            raise ValueError(
                "client certificates need TLS: give the server's certificate "
                "and private key too"
            )

    def __bool__(self):
        return bool(self.certificate)

    def for_http(self):
        """An `ssl.SSLContext`, or None.

        A client certificate is asked for and not demanded, so that live and
        ready stay open and tokens may be used beside certificates.

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

    def for_grpc(self):
        """gRPC server credentials, or None.

        With `client_ca` every client must show a certificate: gRPC's Python
        cannot ask for one without demanding it.

        Raises:
            OSError: a file cannot be read.
        """
        if not self:
            return None
        pair = (_read(self.private_key), _read(self.certificate))
        client_ca = _read(self.client_ca) if self.client_ca else None
        return grpc.ssl_server_credentials(
            [pair], client_ca, require_client_auth=client_ca is not None
        )


def parse(flag, text):
    """The `Address` in `HOST:PORT` or `[IPV6]:PORT`; None if empty.

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


def warnings(addresses, has_access_control, tls):
    """What an operator should know before the server listens.

    Args:
        addresses: list of `Address`.
        has_access_control: bool.
        tls: `Tls`.

    Returns:
        List of strings.

    Raises:
        ValueError: an address is open to other machines, and nothing would
            tell whose Submodels a request may use.
    """
    outside = [each for each in addresses if not each.is_loopback]
    found = []
    if not has_access_control:
        if outside:
            raise ValueError(
                f"refusing to listen on {outside[0]} without access control: "
                "anyone who reaches it could use everyone's Submodel. Give "
                "--access_file, or listen on 127.0.0.1."
            )
        found.append(
            "access control is off: every process of this machine may use "
            "and unload every Submodel. --access_file turns it on."
        )
    elif outside and not tls:
        found.append(
            f"{outside[0]} is without TLS: tokens and speech go in the clear "
            "unless a proxy in front encrypts. --tls_certificate turns it on."
        )
    return found


def _read(path):
    with open(path, "rb") as file:
        return file.read()
