"""The commands of `tasks.store`: what they do and print."""

import dataclasses
import getpass
import json
import posixpath
import socket
import sys
from collections import abc

import tensorflow as tf
import tqdm

from lingvo_like import files
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks import tables
from tasks.asr.training import model_directory, withdrawal
from tasks.serving import erasure, gate_evidence


class StoreCommands:
    """The commands on one store, for one tenant.

    Each command prints what it does, and returns why it failed; None if it did
    not. Of many speakers, those that are refused are printed to stderr, and the
    others go on. An OSError of the store stops all.

    Args:
        store: None for an `erase` from folders alone.
        tenant: id; `list` takes all tenants if it is empty.
        as_json: whether to print lines of JSON.
    """

    def __init__(
        self,
        store: submodel_store.SubmodelStore | None,
        tenant: str,
        as_json: bool,
    ):
        if tenant:
            submodel_store.check_id("tenant", tenant)
        self._store_or_none = store
        self._tenant = tenant
        self._as_json = as_json

    @property
    def _store(self) -> submodel_store.SubmodelStore:
        if self._store_or_none is None:
            raise ValueError("--store is missing; see --help")
        return self._store_or_none

    def publish(
        self,
        paths: list[str],
        model_dir: str = "",
        speaker: str = "",
        gate: str = "",
        *,
        change_base: bool = False,
        again: bool = False,
        force: bool = False,
    ) -> str | None:
        """Publishes Submodel files.

        Args:
            model_dir: of a run, whose Submodels are published too, or empty.
            speaker: the id to publish for; empty for the one in the file.
            gate: path of a results.json whose figures have to pass, or empty.
            change_base, again: see `SubmodelStore.publish`.
            force: whether to publish Submodels that have learned nothing.
        """
        if model_dir:
            paths = paths + _files_of_run(model_dir)
        if not paths:
            raise ValueError("name Submodel files or --model_dir; see --help")
        if speaker and len(paths) > 1:
            raise ValueError("--speaker is for one file; publish one by one")
        results = gate_evidence.Results(gate) if gate else None

        def one(path: str) -> None:
            try:
                data = files.read(path, submodel_file.MAX_FILE_BYTES)
            except OSError as error:
                # `_each` stops at an OSError, which is the store's; this one is
                # of one file.
                raise ValueError(error.strerror) from None
            submodel = submodel_file.load(data)
            if not force:
                gate_evidence.check_learned(submodel)
            named = submodel.metadata.speaker
            evidence = results.gate(named) if results else None
            owner = speaker or named
            try:
                before = self._store.resolve(self._tenant, owner)
            except (submodel_store.UnknownSubmodelError, FileNotFoundError):
                before = None
            try:
                version = self._store.publish(
                    data,
                    self._tenant,
                    owner,
                    evidence,
                    source=files.absolute(path),
                    change_base=change_base,
                    again=again,
                )
            except submodel_store.RefusedError as error:
                raise ValueError(
                    f"{error}; to publish it all the same, add --{error.option}"
                ) from None
            state = "unchanged" if version == before else "published"
            self._print(f"{state} {owner} {version.name}", version, state=state)

        return self._each(
            paths,
            one,
            "published",
            f"the store {self._store.root} cannot be used",
        )

    def list(self) -> str | None:
        """Lists the current version of every speaker."""
        errors: list[OSError] = []
        versions = self._store.current(self._tenant or None, errors.append)
        rows = [("tenant", "speaker", "version", "base", "bytes", "published")]
        for each in sorted(versions, key=lambda v: (v.tenant, v.speaker)):
            if self._as_json:
                self._print("", each)
            owner = (each.tenant, each.speaker, each.name)
            base, size = each.base_fingerprint[:12], f"{each.num_bytes:,}"
            rows.append((*owner, base, size, each.published_at))
        if not self._as_json:
            nothing = "nothing is published"
            print(tables.aligned(rows) if len(rows) > 1 else nothing)
        for error in errors:
            print(f"error: {error}", file=sys.stderr)
        if errors:
            return f"speakers that cannot be read: {len(errors)}; see verify"
        return None

    def show(self, speakers: abc.Sequence[str]) -> str | None:
        """Shows every version of speakers; a star marks the current one."""

        def one(speaker: str) -> None:
            current = self._store.resolve(self._tenant, speaker)
            for each in self._store.versions(self._tenant, speaker):
                text = (
                    f"{'*' if each == current else ' '} {speaker} {each.name}  "
                    f"{each.published_at}  {each.num_bytes:,} bytes  base "
                    f"{each.base_fingerprint[:12]}\n    sha256 {each.sha256}"
                )
                if each.gate:
                    text += f"\n    {each.gate.describe()}"
                self._print(text, each, current=each == current)

        return self._each(speakers, one, "shown")

    def rollback(
        self, speakers: abc.Sequence[str], number: int | None
    ) -> str | None:
        """Rolls speakers back; see `SubmodelStore.rollback`."""

        def one(speaker: str) -> None:
            before = self._store.resolve(self._tenant, speaker).name
            version = self._store.rollback(
                self._tenant, speaker, number, _user()
            )
            text = f"rolled back {speaker} {before} -> {version.name}"
            self._print(text, version, before=before)

        return self._each(speakers, one, "rolled back")

    def erase(
        self,
        speakers: abc.Sequence[str],
        reason: str,
        folders: abc.Sequence[str] = (),
    ) -> str | None:
        """Erases every version of speakers; the audit log keeps the reason.

        Args:
            folders: of runs, enrolments and evaluations, to take them out of.
        """
        store = self._store_or_none
        if store is not None and not reason:
            raise ValueError("--reason is missing; the audit log keeps it")
        for folder in folders:
            for speaker in speakers:
                withdrawal.check(folder, speaker)

        def one(speaker: str) -> None:
            done = erasure.erase(
                store, self._tenant, speaker, reason, _user(), folders
            )
            text = done.describe(is_stored=store is not None)
            row = dataclasses.asdict(done)
            print(json.dumps(row) if self._as_json else text)

        return self._each(speakers, one, "erased")

    def verify(self, remove_leftovers: bool) -> str | None:
        """Names the problems of the whole store; see `SubmodelStore.verify`."""
        found = left = 0
        for problem in self._store.verify(remove_leftovers):
            found += 1
            left += not problem.is_removed
            suffix = "; removed" if problem.is_removed else ""
            text = f"{problem.path}: {problem.message}{suffix}"
            row = dataclasses.asdict(problem)
            print(json.dumps(row) if self._as_json else text)
        if left:
            return f"{self._store.root}: not whole; problems: {left}"
        if not self._as_json:
            print(f"{self._store.root}: whole" + (" now" if found else ""))
        return None

    def _print(self, text, version, **more):
        row = {"version": version.name, **dataclasses.asdict(version), **more}
        tqdm.tqdm.write(json.dumps(row) if self._as_json else text)

    def _each(self, items, act, done, whose=""):
        """Does something to each item.

        Args:
            whose: what an OSError is said of; of the item if empty.
        """
        if not items:
            raise ValueError("name at least one speaker; see --help")
        refused = 0
        # No progress bar for a single item, nor without a terminal.
        disable = True if len(items) == 1 else None
        for index, item in enumerate(tqdm.tqdm(items, disable=disable)):
            try:
                act(item)
            except (
                ValueError,
                submodel_store.DamagedStoreError,
                submodel_store.UnknownSubmodelError,
            ) as error:
                refused += 1
                message = str(error).removeprefix("Submodel: ")
                tqdm.tqdm.write(f"error: {item}: {message}", file=sys.stderr)
            except OSError as error:
                before = f"{done} before: {index - refused}"
                return f"{whose or item}: {error} ({before})"
        if refused:
            return f"{done} {len(items) - refused} of {len(items)}"
        return None


def _files_of_run(path: str) -> list[str]:
    folder = model_directory.ModelDirectory(path).submodels
    found = [
        posixpath.join(folder, name)
        for name in sorted(tf.io.gfile.listdir(folder))
        if name.endswith(submodel_file.SUFFIX)
    ]
    if not found:
        raise ValueError(f"{folder}: no Submodel is there")
    return found


def _user():
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
