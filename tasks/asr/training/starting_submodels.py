"""The Submodels that the speakers of a run go on from.

A run keeps copies of them in its folder `started_from`, whatever becomes of
where they were found: speakers begin again at the same tensors, and a run may
go on from its own Submodels, which it then replaces.
"""

import dataclasses
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
from tasks import tables
from tasks.asr.training import model_directory, start_sources
from tpu.distribute import processes as processes_lib


@dataclasses.dataclass(frozen=True)
class Start:
    """What one speaker goes on from.

    Attributes:
        path: of the file, below the run's folder.
        sha256: of the Submodel, as its metadata has it.
        speaker: whose Submodel it is.
        source: the kind of where it was found.
    """

    path: str
    sha256: str
    speaker: str
    source: str


class StartingSubmodels:
    """The starts of a run's speakers.

    Args:
        starts: by speaker; everybody else starts as the base model.
        source: where they were found, as `experiment.json` has it: its `path`
            and `kind`, and how many Submodels of others are there.
        found_in: where they are until `copy`; None where the run has them.
    """

    def __init__(
        self,
        directory: model_directory.ModelDirectory,
        starts: abc.Mapping[str, Start] | None = None,
        source: abc.Mapping[str, Any] | None = None,
        found_in: start_sources.Source | None = None,
    ) -> None:
        self._directory = directory
        self.by_speaker = dict(starts or {})
        self.source = dict(source or {})
        self._found_in = found_in

    def copy(self, processes: processes_lib.Processes) -> None:
        """Copies them into the run's folder, unless they are there.

        Raises:
            ValueError: one has changed since it was found.
            OSError: one cannot be read or written.
        """
        if self._found_in is None:
            return
        if processes.is_chief:
            tf.io.gfile.makedirs(self._directory.started_from)
            for speaker, start in self.by_speaker.items():
                self.load(speaker)
                data = self._found_in.find(speaker) or b""
                path = self._directory.in_folder(start.path)
                files.write_atomically(path, data)
        # No process reads before the chief has written.
        processes.gather()
        self._found_in = None

    def num_missing(self) -> int:
        """How many files `copy` will write."""
        return len(self.by_speaker) if self._found_in else 0

    def load(self, speaker: str) -> submodel_file.Submodel | None:
        """A speaker's start; None for the base model.

        Raises:
            ValueError: it is gone, or is not what it was.
        """
        start = self.by_speaker.get(speaker)
        if start is None:
            return None
        path = self._directory.in_folder(start.path)
        if self._found_in is None:
            found = submodel_file.load(path)
        else:
            path = self._found_in.path
            found = submodel_file.load(self._found_in.find(speaker) or b"")
        if found.metadata.sha256 != start.sha256:
            raise ValueError(
                f"{path}: is not what {speaker!r} started from; restore it, or "
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
        """The `heard.keys` of what the start has learned from."""
        found = self.load(speaker)
        if found is None:
            return frozenset()
        return heard_lib.unpack(found.metadata.heard)

    def described(self, speaker: str) -> dict[str, str]:
        """What the metadata of a Submodel says of its start."""
        start = self.by_speaker.get(speaker)
        if start is None:
            return {}
        return {
            name: getattr(start, name)
            for name in ("sha256", "speaker", "source")
        }

    def describe(self, speakers: abc.Collection[str]) -> str:
        """One line on where these speakers start."""
        own = sum(speaker in self.by_speaker for speaker in speakers)
        base = len(speakers) - own
        parts = [
            f"{own} of {tables.counted(len(speakers), 'speaker')} go on from "
            f"their own Submodel in {self.source['path']}"
        ]
        if base:
            parts.append(f"{base} from the base model")
        others = self.source["num_others"]
        if others:
            parts.append(f"{others} more there not in the manifests")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The value of `start` in `experiment.json`; empty without a start."""
        if not self.source:
            return {}
        return self.source | {
            "submodels": {
                speaker: dataclasses.asdict(start)
                for speaker, start in self.by_speaker.items()
            }
        }


def of_run(
    directory: model_directory.ModelDirectory, saved: abc.Mapping[str, Any]
) -> StartingSubmodels:
    """The starts of a run that has begun.

    Args:
        saved: from `ModelDirectory.read_experiment`.
    """
    start = dict(saved.get("start") or {})
    submodels = start.pop("submodels", {})
    return StartingSubmodels(
        directory, {s: Start(**each) for s, each in submodels.items()}, start
    )


def take(
    directory: model_directory.ModelDirectory,
    source: start_sources.Source,
    speakers: abc.Iterable[str],
    base_fingerprint: str,
    layout: submodel_layout.Layout,
) -> StartingSubmodels:
    """The starts of a new run's speakers, all checked; `copy` writes them.

    Raises:
        ValueError: a Submodel is damaged, somebody else's, of another base
            model or has another layout; or nobody has one.
        OSError: one cannot be read.
    """
    starts = {}
    for speaker in speakers:
        data = source.find(speaker)
        if data is None:
            continue
        try:
            loaded = submodel_file.load(data, base_fingerprint, layout)
        except ValueError as error:
            reason = str(error).removeprefix("Submodel: ")
            raise ValueError(
                f"--start_from: {source.path}, speaker {speaker!r}: {reason}"
            ) from None
        found = loaded.metadata
        # A store serves people with whatever was published for them.
        if found.speaker != speaker and source.kind != start_sources.STORE:
            raise ValueError(
                f"--start_from: {source.path}: the file named after "
                f"{speaker!r} is the Submodel of {found.speaker!r}"
            )
        name = submodel_file.file_name(speaker)
        path = posixpath.join(directory.STARTED_FROM, name)
        starts[speaker] = Start(path, found.sha256, found.speaker, source.kind)
    if not starts:
        raise ValueError(
            f"--start_from: nobody in the manifests has a Submodel in "
            f"{source.path}; leave the flag away to train them from the base "
            "model"
        )
    described = {
        "path": source.path,
        "kind": source.kind,
        "num_others": source.num_submodels - len(starts),
    }
    return StartingSubmodels(directory, starts, described, source)
