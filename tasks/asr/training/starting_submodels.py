"""The Submodels that the speakers of a run go on from.

A run keeps copies of them in its folder `started_from`, whatever becomes of
where they were found: speakers begin again at the same tensors, and a run may
go on from its own Submodels, which it then replaces. The cohorts that stand
beside the speakers' own Submodels lie there too.
"""

import dataclasses
import functools
import posixpath
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like import files
from lingvo_like.submodel import (
    file as submodel_file,
    heard as heard_lib,
    layout as submodel_layout,
)
from tasks.asr.data import manifest
from tasks.asr.training import cohorts, model_directory, start_sources
from tpu.distribute import processes as processes_lib

# The source of a start that the command itself has trained.
COHORT = "cohort"


@dataclasses.dataclass(frozen=True)
class Start:
    """A Submodel to go on from.

    Attributes:
        path: of the file, below the run's folder.
        sha256: of the Submodel, as its metadata has it.
        speaker: whose Submodel it is; a cohort's id for that of a cohort.
        source: the kind of where it was found, or `COHORT`.
    """

    path: str
    sha256: str
    speaker: str
    source: str


class StartingSubmodels:
    """The starts of a run's speakers, and their cohorts.

    Attributes:
        by_speaker: `Start` of those who do not start as the base model.
        source: where they were found, as `experiment.json` has it: its `path`
            and `kind`, and how many Submodels of others are there.
        cohorts: `Start` by a cohort's id.
        cohort_of: by speaker, the id of the cohort.
    """

    def __init__(
        self,
        directory: model_directory.ModelDirectory,
        by_speaker: abc.Mapping[str, Start] | None = None,
        source: abc.Mapping[str, Any] | None = None,
        of_cohorts: abc.Mapping[str, Start] | None = None,
        cohort_of: abc.Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self.by_speaker = dict(by_speaker or {})
        self.source = dict(source or {})
        self.cohorts = dict(of_cohorts or {})
        self.cohort_of = dict(cohort_of or {})
        # By path below the run's folder, what has not been copied there yet.
        self._found: dict[str, abc.Callable[[], bytes]] = {}

    @property
    def any(self) -> bool:
        """Whether somebody starts from a Submodel."""
        return bool(self.by_speaker)

    @property
    def num_missing(self) -> int:
        """The number of files that `copy` will write."""
        return len(self._found)

    def put(
        self,
        submodel: submodel_file.Submodel,
        named: str,
        source: str,
        read: abc.Callable[[], bytes],
    ) -> Start:
        """A start that `copy` is to copy.

        Args:
            named: whose file it becomes.
            read: gives the bytes of its file.
        """
        path = posixpath.join(
            self._directory.STARTED_FROM, submodel_file.file_name(named)
        )
        self._found[path] = read
        metadata = submodel.metadata
        return Start(path, metadata.sha256, metadata.speaker, source)

    def copy(self, processes: processes_lib.Processes) -> None:
        """Copies what is new into the run's folder.

        Raises:
            ValueError: one has changed since it was found.
            OSError: one cannot be read or written.
        """
        if not self._found:
            return
        if processes.is_chief:
            tf.io.gfile.makedirs(self._directory.started_from)
            starts = [*self.by_speaker.values(), *self.cohorts.values()]
            for start in starts:
                if read := self._found.get(start.path):
                    self._load(start)
                    path = self._directory.in_folder(start.path)
                    files.write_atomically(path, read())
        # No process reads before the chief has written.
        processes.gather()
        self._found = {}

    def load_cohort(self, cohort: str) -> submodel_file.Submodel:
        """The Submodel of one of `cohorts`; errors as for `load`."""
        return self._load(self.cohorts[cohort])

    def load(self, speaker: str) -> submodel_file.Submodel | None:
        """A speaker's start; None for the base model.

        Raises:
            ValueError: it is gone, or is not what it was.
        """
        start = self.by_speaker.get(speaker)
        return None if start is None else self._load(start)

    def _load(self, start):
        path = self._directory.in_folder(start.path)
        read = self._found.get(start.path)
        found = submodel_file.load(read() if read else path)
        if found.metadata.sha256 != start.sha256:
            raise ValueError(
                f"{path}: is not what the run started from; restore it, or "
                "train in another --model_dir"
            )
        return found

    def tensors(self, speaker: str) -> dict[str, np.ndarray] | None:
        """The tensors to start at; None for the base model.

        A Submodel that is the base model has weights of zero, from which
        nothing would ever be learned.
        """
        found = self.load(speaker)
        if found is None or found.layout.is_identity(found.tensors):
            return None
        return found.tensors

    def heard(self, speaker: str) -> frozenset[str]:
        """The `heard.keys` that a speaker's own Submodel has from its start.

        What a cohort has heard stays in the cohort's file, which the speaker's
        file names: it is what everybody said.
        """
        start = self.by_speaker.get(speaker)
        if start is None or cohorts.is_cohort(start.speaker):
            return frozenset()
        return heard_lib.unpack(self._load(start).metadata.heard)

    def knows(self, speaker: str) -> frozenset[str]:
        """The `heard.keys` of what would flatter a speaker's start as dev.

        The cohort that the command trains itself hears no dev speech.
        """
        start = self.by_speaker.get(speaker)
        if start is None or start.source == COHORT:
            return frozenset()
        return heard_lib.unpack(self._load(start).metadata.heard)

    def described(self, speaker: str) -> dict[str, str]:
        """A speaker's start, as a Submodel's metadata has it; {} for none."""
        start = self.by_speaker.get(speaker)
        if start is None:
            return {}
        return {
            name: getattr(start, name)
            for name in ("sha256", "speaker", "source")
        }

    def describe(self, speakers: abc.Collection[str]) -> str:
        """One line on where these speakers start."""
        starts = [self.by_speaker.get(speaker) for speaker in speakers]
        of_cohort = sum(
            cohorts.is_cohort(start.speaker) for start in starts if start
        )
        base = starts.count(None)
        own = len(starts) - of_cohort - base
        parts = []
        if self.source:
            path = self.source["path"]
            parts.append(f"{own} from their own Submodel in {path}")
        if of_cohort:
            parts.append(f"{of_cohort} from the Submodel of a cohort")
        if base:
            parts.append(f"{base} from the base model")
        line = f"they start: {', '.join(parts)}"
        others = self.source.get("num_others")
        if others:
            line += f" ({others} more there are not in the manifests)"
        return line

    def add_cohorts(
        self,
        found: abc.Mapping[str, Start],
        utterances: abc.Mapping[str, abc.Sequence[manifest.Utterance]],
        is_start: bool = True,
    ) -> None:
        """Gives speakers their cohorts.

        Args:
            found: `put` made them, by a cohort's id.
            utterances: by speaker.
            is_start: whether those start from it who have nothing else.
        """
        self.cohorts, self.cohort_of = dict(found), {}
        for speaker, start in list(self.by_speaker.items()):
            if start.source == COHORT:
                del self.by_speaker[speaker]
        for speaker, own in utterances.items():
            cohort = cohorts.find(own, found)
            if cohort is None:
                continue
            self.cohort_of[speaker] = cohort
            if is_start:
                self.by_speaker.setdefault(speaker, found[cohort])

    def to_json(self) -> dict[str, Any]:
        """The values of `start` and `cohort` in `experiment.json`."""
        found: dict[str, Any] = {"start": {}, "cohort": {}}
        if self.source or self.by_speaker:
            found["start"] = self.source | {
                "submodels": _to_json(self.by_speaker)
            }
        if self.cohorts:
            found["cohort"] = {
                "submodels": _to_json(self.cohorts),
                "of": self.cohort_of,
            }
        return found


def _to_json(starts):
    return {name: dataclasses.asdict(start) for name, start in starts.items()}


def _from_json(starts):
    return {name: Start(**each) for name, each in starts.items()}


def of_run(
    directory: model_directory.ModelDirectory, saved: abc.Mapping[str, Any]
) -> StartingSubmodels:
    """The starts and cohorts of a run that has begun.

    Args:
        saved: from `ModelDirectory.read_experiment`.
    """
    start, cohort = (dict(saved.get(k) or {}) for k in ("start", "cohort"))
    return StartingSubmodels(
        directory,
        _from_json(start.pop("submodels", {})),
        start,
        _from_json(cohort.get("submodels", {})),
        cohort.get("of", {}),
    )


def take(
    directory: model_directory.ModelDirectory,
    source: start_sources.Source,
    utterances: abc.Mapping[str, abc.Sequence[manifest.Utterance]],
    base_fingerprint: str,
    layout: submodel_layout.Layout,
    has_cohorts: bool = False,
) -> StartingSubmodels:
    """The starts of a new run's speakers, all checked; `copy` copies them.

    A speaker goes on from the own Submodel, or else from that of a cohort.

    Args:
        utterances: by speaker.
        has_cohorts: whether the run trains cohorts of its own.

    Raises:
        ValueError: a Submodel is damaged, somebody else's, of another base
            model or has another layout; or nobody has one.
        OSError: one cannot be read.
    """
    starts = StartingSubmodels(directory)

    def find(speaker: str) -> Start | None:
        data = source.find(speaker)
        if data is None:
            return None
        try:
            loaded = submodel_file.load(data, base_fingerprint, layout)
        except ValueError as error:
            reason = str(error).removeprefix("Submodel: ")
            raise ValueError(
                f"--start_from: {source.path}, speaker {speaker!r}: {reason}"
            ) from None
        named = loaded.metadata.speaker
        # A store serves people with whatever was published for them.
        if named != speaker and source.kind != start_sources.STORE:
            raise ValueError(
                f"--start_from: {source.path}: the file named after "
                f"{speaker!r} is the Submodel of {named!r}"
            )
        read = functools.partial(_read, source, speaker)
        return starts.put(loaded, speaker, source.kind, read)

    found = {speaker: find(speaker) for speaker in utterances}
    starts.by_speaker = {s: start for s, start in found.items() if start}
    num_others = source.num_submodels - len(starts.by_speaker)
    if not has_cohorts:
        given = {each: find(each) for each in source.cohorts}
        starts.add_cohorts(
            {name: start for name, start in given.items() if start}, utterances
        )
    if not (starts.by_speaker or has_cohorts):
        raise ValueError(
            f"--start_from: nobody in the manifests has a Submodel in "
            f"{source.path}; leave the flag away to train them from the base "
            "model"
        )
    starts.source = {
        "path": source.path,
        "kind": source.kind,
        "num_others": num_others,
    }
    return starts


def _read(source, speaker):
    return source.find(speaker) or b""
