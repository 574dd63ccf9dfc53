"""The audit log of a Submodel store: erasures and rollbacks."""

import contextlib
import errno
import json
import secrets
from collections import abc

from lingvo_like import json_values
from lingvo_like.store import filesystem, layout, records

# Two lines of the longest reason are 26 KB.
RESERVE_BYTES = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)
ERASE = "erase"
# Of what was cut, in the line that says so.
_MAX_SHOWN = 200


class UnloggedError(OSError):
    """An erasure is done, and the audit log has no line that says so."""


@contextlib.contextmanager
def logged(
    tree: filesystem.Files, event: str, fields: dict, is_urgent: bool = False
) -> abc.Iterator[None]:
    """Writes a line to the log before the body runs, and one on its outcome.

    If the process is killed, only the first line is there.

    Args:
        is_urgent: whether a full disk must not stop the body. The reserve gives
            the lines their room. If that was used before, the body runs without
            a first line, and the last line has the room of what it removes.

    Raises:
        UnloggedError: it is done, and there is no room for a line.
    """
    fields = {"id": secrets.token_hex(8), "event": event, **fields}
    append = _append_from_reserve if is_urgent else _append
    append(tree, fields, "begun")
    try:
        yield
    except BaseException:
        # The body's own error says more than this one would.
        with contextlib.suppress(OSError):
            _append(tree, fields, "failed")
        raise
    if not append(tree, fields, "done"):
        raise UnloggedError(
            errno.ENOSPC,
            "everything is erased, but the audit log has no room for the line "
            f"that says so; add it: {_line(fields, 'done').decode().strip()}",
            tree.full(layout.AUDIT),
        )
    if is_urgent:
        # The disk may be full still; the next publish tries again.
        with contextlib.suppress(OSError):
            keep_room(tree)


def keep_room(tree: filesystem.Files) -> None:
    """Keeps room for the lines of an erasure, should the disk be full then."""
    tree.reserve(layout.AUDIT_RESERVE, RESERVE_BYTES)


def erasure(tree: filesystem.Files, tenant: str, speaker: str) -> dict | None:
    """The last line about an erasure of a speaker; None if there is none."""
    # Most lines are about others, and parsing takes long.
    name = json.dumps(speaker).encode()
    for line in reversed(tree.lines(layout.AUDIT)):
        if name not in line:
            continue
        # `verify` names damaged lines.
        with contextlib.suppress(ValueError):
            fields = parse(line)
            sought = {"event": ERASE, "tenant": tenant, "speaker": speaker}
            if sought.items() <= fields.items():
                return fields
    return None


def parse(line: bytes) -> dict:
    """The fields of a line; a ValueError if it is damaged."""
    return json_values.strict_object(line.decode())


def mend(tree: filesystem.Files) -> None:
    """Cuts a half-written line that a killed writer left, and says so."""
    _say_what_was_cut(tree, tree.append(layout.AUDIT, b""))


def _line(fields, state):
    line = {"at": records.now(), "state": state, **fields}
    return (json.dumps(line) + "\n").encode()


def _append(tree, fields, state):
    torn = tree.append(layout.AUDIT, _line(fields, state))
    _say_what_was_cut(tree, torn)
    return True


def _append_from_reserve(tree, fields, state):
    """Appends a line, in the reserve's room if it must; False without room."""
    for _ in range(2):
        try:
            return _append(tree, fields, state)
        except OSError as error:
            if error.errno not in _FULL:
                raise
        tree.remove(layout.AUDIT_RESERVE)
    return False


def _say_what_was_cut(tree, torn):
    if not torn:
        return
    shown = torn[:_MAX_SHOWN].decode(errors="replace")
    # What was cut had never been there as a whole: no reason to fail.
    with contextlib.suppress(OSError):
        tree.append(
            layout.AUDIT, _line({"event": "mend", "cut": shown}, "done")
        )
