"""One JSON line for each request: what, how it ended, how long.

Tenants and Submodels appear as keyed hashes alone: with the key an operator
can find one user's lines, without it nobody can try out names. A credential
appears by the name that the access file gives it, so that should be a service's
or a device's and no person's.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import hmac
import json
import queue
import re
import secrets
import threading
import time

from tasks.serving import errors

# Lines that wait for a slow disk; beyond, lines are dropped and counted.
MAX_WAITING = 10_000
MIN_KEY_BYTES = 16
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-"
    r"([0-9a-f]{2})(-.*)?"
)


@dataclasses.dataclass
class Entry:
    """One request, filled in while it is served.

    Args:
        front: string, "grpc", "rest" or "admin".
        method: string, the RPC or the route's pattern, never the path that
            came.
        traceparent: string, the W3C header that came, or None.
    """

    front: str
    method: str
    traceparent: str | None = None
    code: errors.Code = errors.Code.OK
    http: int | None = None
    caller: object = None
    request_bytes: int = 0
    utterances: int = 0
    submodel_ids: frozenset = frozenset()
    served_by: str = ""

    def __post_init__(self):
        self.started = time.perf_counter()
        match = _TRACEPARENT.fullmatch(self.traceparent or "")
        self.trace_id = match[1] if match else None
        self.parent_id = match[2] if match else None
        self.span_id = secrets.token_hex(8) if match else None
        self._flags = match[3] if match else None

    def set_utterances(self, rows):
        """Notes a request's list of `messages.Utterance`."""
        self.utterances = len(rows)
        ids = {row.submodel_id for row in rows}
        self.submodel_ids = frozenset(ids - {None})

    @property
    def answer_headers(self):
        """What the answer carries: the trace, as this server's span."""
        if self.trace_id is None:
            return {}
        return {
            "traceparent": f"00-{self.trace_id}-{self.span_id}-{self._flags}"
        }


class AccessLog:
    """Writes entries from a thread of its own, so that no disk holds a request.

    Args:
        path: string, appended to; "-" for stdout, empty for no log.
        key: bytes for the hashes; random for this process if None.

    Raises:
        ValueError: the key is shorter than `MIN_KEY_BYTES`.
        OSError: the file cannot be opened.
    """

    def __init__(self, path, key=None):
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise ValueError(
                f"the access log's key must have at least {MIN_KEY_BYTES} "
                f"bytes. Received: {len(key)}."
            )
        self._key = secrets.token_bytes(32) if key is None else key
        self.dropped = 0
        self._file = _open(path)
        self._lines = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(
            target=self._write, name="access-log", daemon=True
        )
        self._thread.start()

    def write(self, entry):
        """Queues an entry's line; never blocks, never raises."""
        if self._file is None:
            return
        try:
            self._lines.put_nowait(self.line(entry))
        except queue.Full:
            self.dropped += 1

    def line(self, entry):
        """The entry as one line of JSON."""
        seconds = time.perf_counter() - entry.started
        now = datetime.datetime.now(datetime.UTC)
        fields = {
            "time": now.isoformat(timespec="milliseconds"),
            "front": entry.front,
            "method": entry.method,
            "code": entry.code.name,
            "http": entry.http,
            "duration_ms": round(seconds * 1000, 3),
            "request_bytes": entry.request_bytes,
            "utterances": entry.utterances,
            "served_by": entry.served_by,
            "trace_id": entry.trace_id,
            "span_id": entry.span_id,
            "parent_id": entry.parent_id,
        }
        if entry.caller is not None:
            tenant = entry.caller.tenant
            fields["caller"] = entry.caller.name
            fields["tenant"] = self._hash("tenant", tenant)
            fields["submodels"] = sorted(
                self._hash("submodel", tenant, each)
                for each in entry.submodel_ids
            )
        return json.dumps(
            {
                key: each
                for key, each in fields.items()
                if each not in (None, "")
            }
        )

    def close(self):
        """Writes what waits, for at most five seconds."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=1)
        self._thread.join(5)

    def _hash(self, *parts):
        text = "\0".join(parts).encode("utf-8", "backslashreplace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:16]

    def _write(self):
        while (line := self._lines.get()) is not None:
            # A full disk costs lines, not the server.
            try:
                self._file.write(f"{line}\n".encode())
            except OSError:
                self.dropped += 1
        if self._file is not None:
            self._file.close()


def _open(path):
    """Without a buffer: each line is one write, whole even among others'."""
    if not path:
        return None
    if path == "-":
        return open(1, "wb", buffering=0, closefd=False)
    return open(path, "ab", buffering=0)
