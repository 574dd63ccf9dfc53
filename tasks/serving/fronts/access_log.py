"""One JSON line for each request: what it was, how it ended, how long it took.

Tenants and Submodels appear only as keyed hashes: with the key an operator can
find one user's lines, and without it nobody can test a guessed name. A
credential appears under its name in the access file, which should therefore
name a service or a device and never a person.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import hmac
import io
import json
import os
import queue
import re
import secrets
import threading
import time
from collections import abc

from absl import logging

from tasks.serving import errors, messages

# Lines that may wait for a slow disk; any more are dropped and counted.
MAX_WAITING = 10_000
MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 1 << 12
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-"
    r"([0-9a-f]{2})(-.*)?"
)


@dataclasses.dataclass
class Entry:
    """One request, filled in while it is served.

    Args:
        method: the RPC or the route's pattern, never the request's path.
        traceparent: the request's W3C header.
    """

    front: str
    method: str
    traceparent: str | None = None
    code: errors.Code = errors.Code.OK
    http: int | None = None
    caller: messages.Caller | None = None
    request_bytes: int = 0
    utterances: int = 0
    submodel_ids: frozenset[str] = frozenset()
    served_by: str = ""

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        match = _TRACEPARENT.fullmatch(self.traceparent or "")
        self.trace_id = self.parent_id = self.span_id = None
        # For the response: the trace, with this server's span.
        self.answer_headers: dict[str, str] = {}
        if match:
            self.trace_id, self.parent_id, flags, _ = match.groups()
            self.span_id = secrets.token_hex(8)
            traceparent = f"00-{self.trace_id}-{self.span_id}-{flags}"
            self.answer_headers["traceparent"] = traceparent

    def set_utterances(self, rows: abc.Collection[messages.Utterance]) -> None:
        """Notes how many utterances a request has, and whose."""
        self.utterances = len(rows)
        self.submodel_ids = frozenset(
            row.submodel_id for row in rows if row.submodel_id is not None
        )


def read_key(path: str) -> bytes | None:
    """The key in a file; None for an empty path."""
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read(MAX_KEY_BYTES)


def as_serving_error(error: Exception, entry: Entry) -> errors.ServingError:
    """Notes the error to answer with; the server's log tells of a bug."""
    if not isinstance(error, errors.ServingError):
        logging.error("%s failed", entry.method, exc_info=error)
        error = errors.internal("the server failed; its log says why")
    entry.code = error.code
    return error


class AccessLog:
    """Writes entries in its own thread, so that no request waits for a disk.

    Args:
        path: appended to; "-" for stdout, empty for no log.
        key: for the hashes; random for this process if None.

    Raises:
        ValueError: the key is shorter than `MIN_KEY_BYTES`.
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], key: bytes | None = None
    ) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise ValueError(
                f"the access log's key must have at least {MIN_KEY_BYTES} "
                f"bytes. Received: {len(key)}."
            )
        self._key = secrets.token_bytes(32) if key is None else key
        self.dropped = 0
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = None
        if path:
            file = _open(path)
            self._thread = threading.Thread(
                target=self._write, args=(file,), name="access-log", daemon=True
            )
            self._thread.start()

    def write(self, entry: Entry) -> None:
        """Queues an entry's line; never blocks, never raises."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(self.line(entry))
        except queue.Full:
            self.dropped += 1

    def line(self, entry: Entry) -> str:
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

    def close(self) -> None:
        """Writes the waiting lines, for at most five seconds."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=1)
            self._thread.join(5)

    def _hash(self, *parts: str) -> str:
        text = "\0".join(parts).encode("utf-8", "backslashreplace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:16]

    def _write(self, file: io.RawIOBase) -> None:
        with file:
            while (line := self._lines.get()) is not None:
                # A full disk costs lines, not the server.
                try:
                    file.write(f"{line}\n".encode())
                except OSError:
                    self.dropped += 1


def _open(path: str | os.PathLike[str]) -> io.RawIOBase:
    """Unbuffered: a line is one write, so that processes can share a file."""
    if path == "-":
        return open(1, "wb", buffering=0, closefd=False)
    return open(path, "ab", buffering=0)
