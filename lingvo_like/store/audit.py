"""The audit log of a Submodel store: erasures and rollbacks."""

import contextlib
import json
import secrets
from collections import abc

from lingvo_like.store import filesystem, layout, records


@contextlib.contextmanager
def logged(
    tree: filesystem.Files, event: str, fields: dict
) -> abc.Iterator[None]:
    """Writes a line to the log before the body runs, and one on its outcome.

    If the process is killed, only the first line is there.
    """
    fields = {"id": secrets.token_hex(8), "event": event, **fields}

    def append(state):
        line = {"at": records.now(), "state": state, **fields}
        tree.append(layout.AUDIT, (json.dumps(line) + "\n").encode())

    append("begun")
    try:
        yield
    except BaseException:
        append("failed")
        raise
    append("done")
