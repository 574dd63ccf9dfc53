"""From what a user gives to a job that trains: experiment, base, and memory."""

import dataclasses
from collections import abc
from typing import Any

from params import bases, registry, schema
from tasks.asr import base_loading, layouts
from tasks.asr.bases import short_form
from tasks.asr.data import manifest
from tasks.asr.estimates import training as estimates
from tasks.asr.training import model_directory, program
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Choice:
    """The experiment and the base model of a job.

    Attributes:
        name: the experiment's registered name.
        experiment: with all changes.
        base_path: as given, or that of the run.
    """

    name: str
    experiment: schema.Experiment
    base_path: str


def choose(
    model_dir: str,
    name: str = "",
    settings: abc.Mapping[str, Any] | None = None,
    base_path: str = "",
) -> Choice:
    """The experiment and the base model of a new run, or of one to continue.

    Args:
        name: an experiment; if empty, that of the run in `model_dir`, or
            `registry.DEFAULT` in a new one.
        settings: to change, such as `{"train.num_steps": 40}`.
        base_path: if empty, that of the run.

    Raises:
        ValueError: a name or a value is unknown, or there is no base model.
    """
    directory = model_directory.ModelDirectory(model_dir)
    saved = directory.read_experiment() or {}
    chosen = name or saved.get("experiment") or registry.DEFAULT
    values = registry.get(chosen)
    if saved and not name:
        values = directory.saved_values(saved, values)
    base_path = base_path or saved.get("base", "")
    if not base_path:
        raise ValueError(
            "--base is missing: a new run needs a base model, such as "
            "--base=tiny.en"
        )
    return Choice(
        chosen,
        layouts.changed(values, settings or {}),
        base_path,
    )


def train(
    choice: Choice,
    train_manifest: str,
    model_dir: str,
    *,
    dev_manifest: str = "",
    dev: str = program.AUTO,
    check_memory: bool = True,
    strict: bool = False,
    replicas: replicas_lib.Replicas | None = None,
    **more: Any,
) -> model_directory.ModelDirectory:
    """Checks the memory of a job and makes its base model, then trains it.

    Args:
        dev: one of `program.DEV`.
        check_memory: refuse a job that takes more memory than there is.
        strict: refuse to train if any utterance is unusable.
        **more: arguments of `program.train` and of its `check_request`.

    Raises:
        ValueError: it does not fit, or as `program.train`.
        OSError, preemption.Stopped: as `program.train`.
    """
    replicas = replicas or replicas_lib.Replicas()
    values = choice.experiment.base
    base_loading.check_is_there(choice.base_path)
    if isinstance(values, bases.Whisper) and values.audio_context == "full":
        base_loading.of_context(values, choice.base_path)
    base_loading.check_languages(
        choice.experiment, choice.base_path, [train_manifest, dev_manifest]
    )
    # Before a base model is made, which may take half an hour.
    _, holds_out = program.check_request(
        choice.experiment,
        model_dir,
        dev_manifest=dev_manifest,
        dev=dev,
        **more,
    )
    if replicas.processes.is_chief:
        model_directory.check_could_be_written(model_dir, "the model directory")
    if speakers := more.get("speakers"):
        lines = manifest.read_lines(train_manifest).utterances
        there = {each.speaker for each in lines}
        program.check_speakers(speakers, there, train_manifest)
    seconds = 0.0
    # The memory of accelerators is their own.
    if replicas.processes.is_chief and not replicas.has_accelerators:
        job = estimates.job(
            choice.experiment,
            choice.base_path,
            train_manifest,
            bool(dev_manifest) or holds_out,
            replicas.num_replicas,
            replicas.num_local,
            more.get("speakers", ()),
            more.get("cohort", ""),
        )
        seconds = _estimate(job, model_dir, check_memory)
    base_path = short_form.find_or_make(
        values,
        choice.base_path,
        train_manifest,
        may_make=replicas.processes.count == 1,
        check_memory=check_memory,
        training_seconds=seconds,
    )
    return program.train(
        choice.name,
        choice.experiment,
        train_manifest,
        model_dir,
        base_path=base_path,
        dev_manifest=dev_manifest,
        dev=dev,
        strict=strict,
        replicas=replicas,
        **more,
    )


def _estimate(job, model_dir, check_memory):
    """The seconds that a new job will take; 0 where they cannot be told."""
    if job is None:
        return 0.0
    directory = model_directory.ModelDirectory(model_dir)
    is_continued = directory.read_experiment() is not None
    seconds = estimates.check(job, check_memory, is_continued)
    # Of one that goes on, a part may be done.
    return 0.0 if is_continued else seconds
