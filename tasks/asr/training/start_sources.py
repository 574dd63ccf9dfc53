"""Where `--start_from` finds Submodels: a run, a folder, or a store."""

import posixpath
from collections import abc
from typing import Protocol

import tensorflow as tf

from lingvo_like import files
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.training import cohorts, model_directory, run_description

RUN, FOLDER, STORE = "run", "folder", "store"
_WHAT_IT_TAKES = (
    "it takes the folder of a run of tasks.train, a folder of Submodel files, "
    "or a store together with --tenant"
)


class Source(Protocol):
    """A place in which Submodels are found.

    Attributes:
        kind: `RUN`, `FOLDER` or `STORE`.
        path: as it was given, absolute if it is local.
        num_submodels: of all speakers, without those of cohorts.
    """

    @property
    def kind(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def num_submodels(self) -> int: ...

    @property
    def cohorts(self) -> abc.Sequence[str]:
        """The ids of the cohorts that have one."""
        ...

    def find(self, speaker: str) -> bytes | None:
        """The bytes of a speaker's file, which nobody has checked."""
        ...


class _Run:
    """The Submodels of a run, whose files are named after their speakers."""

    kind = RUN

    def __init__(self, path: str) -> None:
        self.path = path
        directory = model_directory.ModelDirectory(path)
        self._folder = directory.submodels
        self._names = set(_names(self._folder))
        # The run that trained cohorts has them in a run of its own, which may
        # be named itself.
        self._of_cohorts = {}
        for folder in (
            self._folder,
            model_directory.ModelDirectory(directory.cohort).submodels,
        ):
            for name in _names(folder):
                # Cohorts are few; a person's file need not be read.
                if name.startswith(cohorts.ID):
                    full = posixpath.join(folder, name)
                    named = submodel_file.load(full).metadata.speaker
                    self._of_cohorts[named] = full
                    self._names.discard(name)
        self.num_submodels = len(self._names)
        self.cohorts = sorted(self._of_cohorts)

    def find(self, speaker: str) -> bytes | None:
        if speaker in self._of_cohorts:
            return _read(self._of_cohorts[speaker])
        name = submodel_file.file_name(speaker)
        if name not in self._names:
            return None
        return _read(posixpath.join(self._folder, name))


class _Folder:
    """Submodel files, which alone say whose they are."""

    kind = FOLDER

    def __init__(self, path: str, folders: abc.Iterable[str]) -> None:
        self.path = path
        self._paths: dict[str, str] = {}
        for folder in folders:
            for name in _names(folder):
                self._add(posixpath.join(folder, name))
        self.cohorts = sorted(filter(cohorts.is_cohort, self._paths))
        self.num_submodels = len(self._paths) - len(self.cohorts)

    def _add(self, path):
        speaker = submodel_file.load(path).metadata.speaker
        other = self._paths.setdefault(speaker, path)
        if other != path:
            raise ValueError(
                f"--start_from: two Submodels of {speaker!r}, {other} and "
                f"{path}; leave the one to start from"
            )

    def find(self, speaker: str) -> bytes | None:
        path = self._paths.get(speaker)
        return _read(path) if path else None


class _Store:
    """The Submodels that a tenant's speakers are served with."""

    kind = STORE
    # No store takes their ids.
    cohorts = ()

    def __init__(
        self, path: str, store: submodel_store.SubmodelStore, tenant: str
    ) -> None:
        self.path = path
        self._store = store
        self._versions = {each.speaker: each for each in store.current(tenant)}
        self.num_submodels = len(self._versions)

    def find(self, speaker: str) -> bytes | None:
        version = self._versions.get(speaker)
        return version and self._store.read(version)


def find(path: str, tenant: str = "") -> Source:
    """The source that `--start_from` names.

    Args:
        tenant: whose speakers, where it is a store.

    Raises:
        ValueError: it is nothing that has Submodels; a store without a tenant,
            or a tenant without a store.
        OSError: it cannot be read.
    """
    path = files.absolute(path)
    if not files.exists(path):
        raise ValueError(
            f"--start_from: {path} does not exist; {_WHAT_IT_TAKES}"
        )
    if not tf.io.gfile.isdir(path):
        raise ValueError(f"--start_from: {path} is a file; {_WHAT_IT_TAKES}")
    store = submodel_store.SubmodelStore(path)
    if _is_store(store):
        if not tenant:
            raise ValueError(
                f"--start_from: {path} is a store; --tenant says whose "
                "speakers go on"
            )
        return _not_empty(_Store(path, store, tenant), f"tenant {tenant!r}")
    if tenant:
        raise ValueError(
            f"--tenant goes with a store, and --start_from={path} is none"
        )
    directory = model_directory.ModelDirectory(path)
    saved = directory.read_experiment()
    if saved:
        run_description.check_program(path, saved, run_description.TRAIN)
        return _not_empty(
            _Run(path), "the command that began the run finishes it"
        )
    # An enrolment keeps its files below its folder, as a run does.
    return _not_empty(
        _Folder(path, [path, directory.submodels]), _WHAT_IT_TAKES
    )


def _is_store(store):
    try:
        store.check()
    except FileNotFoundError:
        return False
    return True


def _not_empty(source, hint):
    if not (source.num_submodels or source.cohorts):
        raise ValueError(
            f"--start_from: no Submodel is in {source.path}; {hint}"
        )
    return source


def _names(folder):
    if not tf.io.gfile.isdir(folder):
        return []
    return sorted(
        name
        for name in tf.io.gfile.listdir(folder)
        if name.endswith(submodel_file.SUFFIX)
        and not name.startswith(files.TEMPORARY_PREFIX)
    )


def _read(path):
    return files.read(path, submodel_file.MAX_FILE_BYTES)
