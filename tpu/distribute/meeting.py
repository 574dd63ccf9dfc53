"""Where processes meet that no distribution strategy spans."""

import contextlib
import hashlib
import json
import socket
import struct
import time

_JOIN_SECONDS = 600.0
_GREET_SECONDS = 10.0
_AGAIN_SECONDS = 0.2
# A host that is gone without a word is noticed after two minutes.
_PATIENCE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 20,
    "TCP_KEEPCNT": 3,
    # Milliseconds, for what was sent to it and not acknowledged.
    "TCP_USER_TIMEOUT": 120_000,
}
_LENGTH = struct.Struct("<Q")


class Meeting:
    """Exchanges bytes between the processes of a cluster, over TCP.

    The first process listens at its address and the others come to it, whose
    own addresses are but their names. What they greet it with keeps strangers
    out, not enemies: as with TensorFlow's own servers, the network has to be
    one's own.

    Args:
        processes: `Cluster`.
        join_seconds: float, how long to wait for all.

    Raises:
        OSError: they did not all come.
    """

    def __init__(self, processes, join_seconds=_JOIN_SECONDS):
        self._processes = processes
        names = json.dumps(processes.addresses).encode()
        self._job = hashlib.sha256(names).hexdigest()
        deadline = time.monotonic() + join_seconds
        try:
            # The others in their order, or the first process alone.
            self._peers = (self._go if processes.index else self._wait)(
                deadline
            )
        except OSError as error:
            raise OSError(
                f"TF_CONFIG: {processes.task} cannot join the others: "
                f"{error}. Every address must be free and reachable, every "
                "process started, and the addresses and their order be the "
                "same in every TF_CONFIG."
            ) from error

    def exchange(self, data):
        """What every process brought, once all have come.

        Args:
            data: bytes.

        Returns:
            list of bytes, by index.

        Raises:
            OSError: one of them is gone.
        """
        if self._processes.index:
            (first,) = self._peers
            _send(first, data)
            return [
                _receive(first) for _ in range(len(self._processes.addresses))
            ]
        found = [data, *map(_receive, self._peers)]
        for peer in self._peers:
            for each in found:
                _send(peer, each)
        return found

    def _wait(self, deadline):
        addresses, found = self._processes.addresses, {}
        with socket.create_server(_parts(addresses[0])) as server:
            while len(found) < len(addresses) - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    raise TimeoutError(
                        f"{self._missing(found)} did not come"
                    ) from None
                index = self._index_of(peer)
                if index is None:
                    peer.close()
                    continue
                found[index] = _lasting(peer)
                # Who was started again comes again.
                found = {i: p for i, p in found.items() if not _is_gone(p)}
        for peer in found.values():
            _send(peer, b"")
        return [found[index] for index in sorted(found)]

    def _missing(self, found):
        others = list(enumerate(self._processes.addresses))[1:]
        return ", ".join(a for index, a in others if index not in found)

    def _index_of(self, peer):
        """Who has come; None if nobody of this job."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            peer.settimeout(_GREET_SECONDS)
            job, index = json.loads(_receive(peer, most=1024))
            if job == self._job and 0 < index < len(self._processes.addresses):
                return index
        return None

    def _go(self, deadline):
        address = _parts(self._processes.addresses[0])
        greeting = json.dumps([self._job, self._processes.index]).encode()
        while True:
            try:
                return [self._come(address, greeting, deadline)]
            except OSError:
                # It has not begun to listen, or something else listens there.
                if time.monotonic() + _AGAIN_SECONDS > deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

    def _come(self, address, greeting, deadline):
        left = max(0.01, deadline - time.monotonic())
        first = socket.create_connection(address, timeout=left)
        try:
            _send(first, greeting)
            # The answer comes when all are there.
            _receive(first)
        except OSError:
            first.close()
            raise
        return _lasting(first)


def _parts(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def _lasting(peer):
    """The connection, which from now on waits for as long as it takes."""
    peer.settimeout(None)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PATIENCE.items():
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return peer


def _is_gone(peer):
    """Whether a connection that nobody should write to by now is closed."""
    peer.setblocking(False)
    try:
        return not peer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.setblocking(True)


def _send(peer, data):
    peer.sendall(_LENGTH.pack(len(data)) + data)


def _receive(peer, most=2**40):
    (length,) = _LENGTH.unpack(_read(peer, _LENGTH.size))
    if length > most:
        raise ConnectionError(f"{length} bytes where {most} are the most")
    return _read(peer, length)


def _read(peer, length):
    parts = []
    while length:
        part = peer.recv(min(length, 1 << 20))
        if not part:
            raise ConnectionResetError("connection closed")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
