"""From what a user gives to a job that trains: experiment, base, and memory."""

import dataclasses
from collections import abc
from typing import Any

from lingvo_like import hyperparams
from params import bases, registry, schema
from tasks.asr import base_loading
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
    experiment = hyperparams.replace(values, settings or {})
    _check_effect(experiment, settings or {})
    return Choice(chosen, experiment, base_path)


def _check_effect(experiment, settings):
    """Refuses values of a kind that the Submodels do not have."""
    for path in settings:
        section, _, name = path.partition(".")
        sites = getattr(getattr(experiment, section), "sites", None)
        if name != "sites" and sites == ():
            raise ValueError(
                f"`{path}` has no effect: Submodels have no {section}, since "
                f"`{section}.sites` is (). Set `{section}.sites` too, or leave "
                f"`{path}` out."
            )


def train(
    choice: Choice,
    train_manifest: str,
    model_dir: str,
    *,
    dev_manifest: str = "",
    dev: str = program.AUTO,
    check_memory: bool = True,
    replicas: replicas_lib.Replicas | None = None,
    **more: Any,
) -> model_directory.ModelDirectory:
    """Checks the memory of a job and makes its base model, then trains it.

    Args:
        dev: one of `program.DEV`.
        check_memory: refuse a job that takes more memory than there is.
        **more: arguments of `program.train`.

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
    _check_request(
        choice,
        train_manifest,
        model_dir,
        replicas,
        dev_manifest=dev_manifest,
        dev=dev,
        **more,
    )
    seconds = _estimate(
        choice,
        train_manifest,
        model_dir,
        replicas,
        check_memory,
        bool(dev_manifest)
        or program.decide_dev(choice.experiment, dev_manifest, dev),
        more.get("speakers", ()),
        more.get("cohort", ""),
    )
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
        replicas=replicas,
        **more,
    )


def _check_request(
    choice, train_manifest, model_dir, replicas, *, strict=False, **request
):
    """Refuses what `program.train` would refuse once it has the base model."""
    del strict
    program.check_request(choice.experiment, model_dir, **request)
    if replicas.processes.is_chief:
        model_directory.check_could_be_written(model_dir, "the model directory")
    if speakers := request.get("speakers"):
        lines = manifest.read_lines(train_manifest).utterances
        there = {each.speaker for each in lines}
        program.check_speakers(speakers, there, train_manifest)


def _estimate(
    choice,
    train_manifest,
    model_dir,
    replicas,
    check_memory,
    has_dev,
    speakers,
    cohort,
):
    """The seconds that a new job will take; 0 where they cannot be told."""
    # The memory of accelerators is their own.
    if not replicas.processes.is_chief or replicas.has_accelerators:
        return 0.0
    job = estimates.job(
        choice.experiment,
        choice.base_path,
        train_manifest,
        has_dev,
        replicas.num_replicas,
        replicas.num_local,
        speakers,
        cohort,
    )
    if job is None:
        return 0.0
    directory = model_directory.ModelDirectory(model_dir)
    is_continued = directory.read_experiment() is not None
    seconds = estimates.check(job, check_memory, is_continued)
    # Of one that goes on, a part may be done.
    return 0.0 if is_continued else seconds
