"""The results of a run, for the code that started it."""

import dataclasses
from typing import Any

import tensorflow as tf

from tasks.asr.training import model_directory, starting_submodels


@dataclasses.dataclass(frozen=True)
class Run:
    """A run and what it has made.

    Attributes:
        path: the folder of the run.
        submodels: dict of speaker to the path of the Submodel's file.
        space: path of the space's file; empty without one.
        started_from: dict of speaker to what the speaker went on from, as the
            metadata of the Submodel has it; without those who started as the
            base model.
        cohorts: dict of a cohort's id to the path of its Submodel's file.
        history: the learning curves: dicts with `speaker`, `step` and
            `train_loss`, `dev_loss` or both.
    """

    path: str
    submodels: dict[str, str]
    space: str
    started_from: dict[str, dict[str, str]]
    cohorts: dict[str, str]
    history: list[dict[str, Any]]


def read(directory: model_directory.ModelDirectory) -> Run:
    """The results that are in a run's folder."""
    saved = directory.read_experiment() or {}
    paths = {each: directory.submodel(each) for each in saved.get("data", ())}
    starts = starting_submodels.of_run(directory, saved)
    return Run(
        path=directory.path,
        submodels={
            speaker: path
            for speaker, path in paths.items()
            if tf.io.gfile.exists(path)
        },
        space=directory.space if tf.io.gfile.exists(directory.space) else "",
        started_from={
            speaker: starts.described(speaker) for speaker in starts.by_speaker
        },
        cohorts={
            cohort: directory.in_folder(start.path)
            for cohort, start in starts.cohorts.items()
        },
        history=directory.read_history(),
    )
