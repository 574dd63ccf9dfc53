"""Reads and writes the records of a Submodel store, and its audit log."""

import contextlib
import datetime
import json
import secrets

from lingvo_like import files, json_values
from lingvo_like.store import filesystem as submodel_store_files
from lingvo_like.store import layout

_MAX_MARKER_BYTES = 1 << 12


class Records:
    """The records under a store's root.

    Args:
        root: path of a folder, or anything that `tf.io.gfile` opens.
    """

    def __init__(self, root):
        self.tree = submodel_store_files.open_root(root)
        self._is_open = False

    def open(self, create=False, again=False):
        """Checks that this is a store.

        Args:
            create: bool, whether to make one of a missing or empty folder.
            again: bool, whether to look even if it was one before.

        Raises:
            OSError: there is none, or it cannot be read.
            ValueError: it is of another format, or the folder holds something
                else.
        """
        if self._is_open and not (create or again):
            return
        try:
            data = self.tree.read(layout.MARKER, _MAX_MARKER_BYTES)
        except FileNotFoundError:
            if not create:
                raise FileNotFoundError(
                    f"{self.tree.root}: no Submodel store is there; check the "
                    "path, or publish a Submodel to make one"
                ) from None
            data = self._create()
        try:
            version = json_values.strict_json(data.decode())["format_version"]
        except (ValueError, KeyError, TypeError):
            raise layout.DamagedStoreError(
                f"{self.tree.full(layout.MARKER)}: damaged: not the "
                "description of a Submodel store"
            ) from None
        if version != layout.FORMAT_VERSION:
            raise ValueError(
                f"{self.tree.root}: the store's format version must be "
                f"{layout.FORMAT_VERSION}. Received: {version!r}."
            )
        self._is_open = True

    def _create(self):
        self.tree.make_root()
        names = [
            name
            for name in self.tree.list("")
            if not name.startswith(files.TEMPORARY_PREFIX)
        ]
        # Another process may have made it just now.
        if names and layout.MARKER not in names:
            raise ValueError(
                f"{self.tree.root}: not a Submodel store, and not empty: "
                f"{names[0]!r} is there; name another folder"
            )
        fields = {"format_version": layout.FORMAT_VERSION}
        data = json.dumps(fields).encode() + b"\n"
        self.tree.write(layout.MARKER, data)
        return data

    def lock(self, folder, shared=False):
        """Holds the lock of a speaker's folder; see `LocalFiles.lock`."""
        parent = folder.rpartition("/")[0]
        return self.tree.lock(f"{parent}/{layout.LOCK}", shared)

    def read(self, cls, path):
        """The `Version` or `Pointer` in a file.

        Raises:
            FileNotFoundError: the file is not there.
            DamagedStoreError: it is something else.
        """
        data = self.tree.read(path, layout.MAX_RECORD_BYTES)
        return layout.from_json(cls, data, path)

    def pointer(self, tenant, speaker):
        """The `Pointer` of a speaker.

        Raises:
            UnknownSubmodelError: there is none.
        """
        self.open()
        folder = layout.speaker_folder(tenant, speaker)
        try:
            return self.read(layout.Pointer, f"{folder}/{layout.POINTER}")
        except FileNotFoundError:
            # A store that is not mounted is no unknown speaker.
            self.open(again=True)
            raise unknown(tenant, speaker) from None

    def write_version(self, version):
        self.tree.write(version.record_path, layout.to_json(version))

    def write_pointer(self, version, latest):
        pointer = layout.Pointer(version, latest)
        self.tree.write(
            f"{version.folder}/{layout.POINTER}", layout.to_json(pointer)
        )

    @contextlib.contextmanager
    def audited(self, event, tenant, speaker, by, **fields):
        """Two lines in the audit log: one before, one on the outcome.

        What a killed process did has the first one alone.
        """
        fields = {
            "id": secrets.token_hex(8),
            "event": event,
            "tenant": tenant,
            "speaker": speaker,
            "by": by,
            **fields,
        }

        def append(state):
            line = json.dumps({"at": now(), "state": state, **fields}) + "\n"
            self.tree.append(layout.AUDIT, line.encode())

        append("begun")
        try:
            yield
        except BaseException:
            append("failed")
            raise
        append("done")


def unknown(tenant, speaker):
    """The error for a speaker of whom nothing is published."""
    return layout.UnknownSubmodelError(
        f"no Submodel of {speaker!r} is published for the tenant {tenant!r}"
    )


def now():
    """UTC in ISO 8601, to the millisecond."""
    time = datetime.datetime.now(datetime.UTC)
    return time.isoformat(timespec="milliseconds")
