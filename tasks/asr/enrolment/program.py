"""Enrols new speakers: from a space and recordings to Submodel files.

`prepare(space, manifest).run(destination)` is the program behind
`tasks.enroll`. `enrol.enrol` is the part that reads and writes no files.
"""

import contextlib
import dataclasses
import posixpath
import sys
import time
from collections import abc
from typing import Any

import tensorflow as tf

from lingvo_like import folders
from lingvo_like.base_models import base_model
from lingvo_like.space import file as space_file
from tasks.asr import base_loading
from tasks.asr.data import inspection, preparation, rejections
from tasks.asr.enrolment import (
    baselines,
    destination as destination_lib,
    enrol,
    experiments,
    plan,
    recordings,
    report,
    results,
)
from tasks.asr.training import model_directory
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of an enrolment.

    Attributes:
        rows: a JSON-able dict for each speaker of all processes; `error` says
            why a speaker has no Submodel.
        enrolled: results of this process's speakers.
        warnings: doubts about the Submodels of this process that were kept.
        errors: why speakers of this process have no Submodel.
        lost: speakers without a usable utterance, where the whole manifest was
            to be enrolled.
        seconds: what it took, by its parts.
        is_chief: whether this process speaks for all.
    """

    rows: list[dict[str, Any]]
    enrolled: list[results.Enrolled]
    warnings: list[str]
    errors: list[str]
    lost: frozenset[str]
    seconds: dict[str, float]
    is_chief: bool = True

    def describe(self) -> str:
        """A table of this process's speakers, and the time it all took."""
        text = report.table(self.enrolled) + "\n" if self.enrolled else ""
        if self.is_chief:
            total = sum(self.seconds.values())
            parts = [f"{what} {s:.1f}" for what, s in self.seconds.items()]
            text += f"{total:.1f} s: {', '.join(parts)}\n"
        return text

    def as_json(self) -> dict[str, Any]:
        """The seconds, and a dict for each speaker of all processes."""
        return {"seconds": self.seconds, "speakers": self.rows}

    @property
    def failure(self) -> str:
        """A line on the speakers without a Submodel; empty without any."""
        enrolled = sum("error" not in row for row in self.rows)
        wanted = len(self.rows) + len(self.lost)
        if enrolled == wanted:
            return ""
        lost = ", ".join(sorted(self.lost))
        more = f"; no usable utterance of {lost}" if lost else ""
        return f"enrolled {enrolled} of {wanted}{more}"


@dataclasses.dataclass(frozen=True)
class Enrolment:
    """An enrolment that is ready to run.

    Attributes:
        lost: as for `Outcome`.
        replicas: of all processes.
        output_dir: the usual folder of the results, beside the space.
        cohorts: dict of speaker to what stands beside the speaker's own.
    """

    space: space_file.Space
    base: base_model.BaseModel
    train: dict[str, preparation.SpeakerUtterances]
    dev: dict[str, preparation.SpeakerUtterances]
    left_out: rejections.Rejections
    lost: frozenset[str]
    mode: str
    values: plan.Values
    replicas: replicas_lib.Replicas
    output_dir: str
    seconds: dict[str, float]
    cohorts: dict[str, baselines.Baseline | None]

    def run(
        self,
        destination: destination_lib.Destination,
        despite_warnings: bool = False,
    ) -> Outcome:
        """Enrols the speakers and writes what they get.

        Args:
            despite_warnings: keep Submodels of recordings that do not fit
                together.

        Raises:
            ValueError: an id is taken.
            OSError: nothing can be written to the destination.
        """
        with folders.tidy_after_failure(destination.submodels):
            return self._run(destination, despite_warnings)

    def _run(self, destination, despite_warnings):
        processes = self.replicas.processes
        processes.check_same(
            "the space, the modes and the speakers",
            [self.space.metadata.sha256, self.mode, list(self.train)],
        )
        destination.check(self.space, self.train)
        # This also keeps processes from writing before all have checked.
        directory = model_directory.ModelDirectory(destination.directory)
        directory.check_shared(processes)
        speakers = list(self.train)[processes.index :: processes.count]
        own = {speaker: self.train[speaker] for speaker in speakers}
        seconds = dict(self.seconds)
        with _timed(seconds, "enrolment"):
            enrolled = self._enrol(self.space, own, self.cohorts) if own else []
        rows, warnings, errors = [], [], []
        with _timed(seconds, "files"):
            for each in enrolled:
                row = each.summary()
                try:
                    if not each.mode:
                        raise ValueError(report.refusal(each))
                    if each.warnings and not despite_warnings:
                        raise ValueError(report.doubt(each))
                    row["path"], version = destination.write(
                        each, self.space, self.values.seed
                    )
                    row["version"] = version.name if version else ""
                    warnings += [f"{each.speaker}: {w}" for w in each.warnings]
                except (ValueError, OSError) as error:
                    # The other speakers go on.
                    row["error"] = str(error)
                    errors.append(str(error))
                rows.append(row)
            rows = [row for part in processes.gather(rows) for row in part]
            if processes.is_chief:
                destination.write_results(rows)
        # No process leaves before all is written.
        processes.gather()
        return Outcome(
            rows,
            enrolled,
            warnings,
            errors,
            self.lost,
            seconds,
            processes.is_chief,
        )

    def compare(self, other_space: str) -> list[dict[str, Any]]:
        """Lists who would gain from another space; nothing is written.

        Args:
            other_space: a run that trained a space, or the space's file.

        Returns:
            rows of `report.comparison`, in the chief process only.

        Raises:
            ValueError: the other space is of another base model, or cannot do
                what the mode asks for.
        """
        rows, processes = [], self.replicas.processes
        if processes.is_chief:
            path, _ = find_space(other_space)
            other = space_file.load(path, self.space.metadata.base_fingerprint)
            plan.check_mode(self.mode, bool(other.encoder))
            before, after = (
                self._enrol(space, self.train) for space in (self.space, other)
            )
            rows = report.comparison(before, after, other.speakers)
        processes.gather()
        return rows

    def _enrol(self, space, train, cohorts=None):
        return enrol.enrol(
            space,
            self.base,
            train,
            self.dev,
            self.mode,
            self.values,
            self.replicas.of_process(),
            cohorts,
        )


def prepare(
    space: str,
    manifest: str,
    *,
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    mode: str = plan.AUTO,
    values: plan.Values | None = None,
    base: str = "",
    replicas: replicas_lib.Replicas | None = None,
) -> Enrolment:
    """Reads and checks all that an enrolment needs.

    Args:
        space: a run that trained a space, or the space's file.
        manifest: JSONL manifest of the recordings to learn from.
        dev_manifest: JSONL manifest to be judged by; folds if empty.
        speakers: ids; all of the manifest if empty.
        mode: one of `plan.MODES`, or `plan.AUTO`.
        base: path of the base model; where the run found it if empty.
        replicas: the replicas that share the work; None for one. Each process
            enrols its own speakers.

    Raises:
        ValueError, OSError: the space, its base model or the manifests cannot
            be used.
    """
    values = values or plan.Values()
    path, base_path = find_space(space)
    loaded = space_file.load(path)
    plan.check_mode(mode, bool(loaded.encoder))
    experiment = experiments.of_space(loaded)
    base_path = base or base_path
    base_loading.check_languages(
        experiment, base_path, [manifest, dev_manifest]
    )
    replicas = replicas or replicas_lib.Replicas()
    seconds = {}
    # The shapes of what a process computes differ from those of the others.
    with _timed(seconds, "base model"), replicas.of_process().scope():
        model = base_loading.load(experiment.base, base_path)
    with _timed(seconds, "recordings"):
        train, dev, left_out = recordings.read(
            model,
            experiment,
            manifest,
            dev_manifest,
            speakers,
            values.min_seconds,
        )
    print(left_out.describe(), file=sys.stderr, end="")
    folder = posixpath.dirname(path) or "."
    return Enrolment(
        loaded,
        model,
        train,
        dev,
        left_out,
        frozenset() if speakers else _nothing_usable(left_out, manifest),
        mode,
        values,
        replicas,
        posixpath.join(folder, "enrolled"),
        seconds,
        baselines.of_run(folder, loaded, train, dev),
    )


def _nothing_usable(
    left_out: rejections.Rejections, manifest: str
) -> frozenset[str]:
    """The speakers of whom nothing in the manifest is usable."""
    return frozenset(
        # In the place of an utterance, where all of a speaker is left out.
        each.utt_id
        for each in left_out
        if each.reason == inspection.NOTHING_USABLE and each.where == manifest
    )


def find_space(path: str) -> tuple[str, str]:
    """The path of a space's file, and of the base model that its run found.

    Args:
        path: a run that trained a space, or the space's file.
    """
    folder = path
    if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
        folder = posixpath.dirname(path) or "."
    else:
        path = model_directory.ModelDirectory(path).space
    saved = model_directory.ModelDirectory(folder).read_experiment()
    if saved and not tf.io.gfile.exists(path):
        _refuse_run_without_space(folder, saved)
    return path, saved["base"] if saved else ""


def _refuse_run_without_space(folder, saved):
    name = saved["experiment"]
    values = saved["values"].get("space") or {}
    if values.get("embedding_dim"):
        raise ValueError(
            f"{folder}: its space is not written yet. The same command of "
            "tasks.train finishes the run"
        )
    raise ValueError(
        f"{folder} is a run of {name}, in which each speaker has a slot: there "
        "is no space to enrol in. Train one with "
        "--experiment=whisper.ShortEmbedding16Encoder, or train the new "
        "speakers from scratch with tasks.train"
    )


@contextlib.contextmanager
def _timed(seconds, name):
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 2)
