"""Trains the cohorts of a run, before its speakers: a job in a folder below."""

import dataclasses
import functools
import sys
from collections import abc

import tensorflow as tf

from lingvo_like import files, hyperparams
from lingvo_like.submodel import file as submodel_file
from params import schema, spaces
from tasks.asr import layouts
from tasks.asr.training import (
    cohorts as cohorts_lib,
    continuation,
    job,
    model_directory,
    start_sources,
    starting_submodels,
)


def experiment_of(experiment: schema.Experiment) -> schema.Experiment:
    """The experiment of a run's cohorts: slots, with updates of their own."""
    train = dataclasses.replace(
        experiment.train,
        num_steps=experiment.cohort.num_steps,
        resident_speakers=0,
    )
    return dataclasses.replace(experiment, train=train, space=spaces.Space())


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where cohorts go on from: the cohort's own folder for a run's own."""

    found: start_sources.Source
    path: str

    @property
    def kind(self) -> str:
        return self.found.kind

    @property
    def cohorts(self) -> abc.Sequence[str]:
        return ()

    @property
    def num_submodels(self) -> int:
        return len(self.found.cohorts)

    def find(self, speaker: str) -> bytes | None:
        return self.found.find(speaker)


def train(
    run: job.Job,
    starts: starting_submodels.StartingSubmodels,
    by: str,
    source: start_sources.Source | None = None,
) -> None:
    """Trains one Submodel for each cohort of a run, or goes on with it.

    Args:
        run: with the dev speech of its speakers.
        starts: of the run; gets the cohorts, from which speakers start who
            have nothing else. Not in a space, beside which they stand.
        by: one of `cohorts.BY`.
        source: cohorts that are there go on from their own Submodels.

    Raises:
        ValueError, OSError, preemption.Stopped: as `program.train`.
    """
    groups = cohorts_lib.group(run.continued.corpus, by)
    if run.replicas.processes.is_chief:
        print(groups.describe())
    corpus = cohorts_lib.corpus_of(run.continued.corpus, groups)
    directory = model_directory.ModelDirectory(run.directory.cohort)
    with directory.open(run.replicas.processes):
        made = _job(run, directory, corpus, source).run()
    made.set_aside.raise_if_any()
    found = {}
    for cohort in corpus.speakers:
        path = directory.submodel(cohort)
        loaded = submodel_file.load(path)
        read = functools.partial(files.read, path, submodel_file.MAX_FILE_BYTES)
        found[cohort] = starts.put(
            loaded, cohort, starting_submodels.COHORT, read
        )
    starts.add_cohorts(
        found,
        run.continued.corpus.utterances_by_speaker(),
        is_start=not run.experiment.space.embedding_dim,
    )


def _job(run, directory, corpus, source):
    """The job of a run's cohorts, which each are as a speaker."""
    experiment = experiment_of(run.experiment)
    own = _own_source(run, directory, source, corpus.speakers)
    description = run.continued.description | {
        "values": hyperparams.to_dict(experiment),
        "data": corpus.digests,
        "start": {"path": own.path} if own else {},
    }
    continued = _continued(
        directory, description, corpus, experiment, run.replicas
    )
    starts = starting_submodels.of_run(
        directory, directory.read_experiment() or {}
    )
    if continued.begins and own:
        starts = starting_submodels.take(
            directory,
            own,
            corpus.utterances_by_speaker(),
            run.origin.base_fingerprint,
            layouts.of(run.base.sites, experiment),
            has_cohorts=True,
        )
    return dataclasses.replace(
        run,
        directory=directory,
        experiment=experiment,
        continued=continued,
        starts=starts,
        selected=None,
        space_from="",
        noun="cohort",
    )


def _own_source(run, directory, source, names):
    if source is None or not set(names) & set(source.cohorts):
        return None
    is_own = source.path == files.absolute(run.directory.path)
    path = files.absolute(directory.path) if is_own else source.path
    return _Source(source, path)


def _continued(directory, description, corpus, experiment, replicas):
    """The cohorts' job; a new one in the place of one of other speech.

    Nobody has started from what is given up, or has a copy of it.
    """
    saved = directory.read_experiment()
    try:
        return continuation.of_run(
            directory, saved, description, corpus, experiment
        )
    except ValueError as error:
        if description["start"].get("path") == files.absolute(directory.path):
            raise
        replicas.processes.gather()
        if replicas.processes.is_chief:
            print(
                f"the cohorts are trained anew: {error}",
                file=sys.stderr,
            )
            directory.begin_anew()
            tf.io.gfile.remove(directory.experiment)
            for folder in (directory.submodels, directory.started_from):
                if tf.io.gfile.isdir(folder):
                    tf.io.gfile.rmtree(folder)
            tf.io.gfile.makedirs(directory.submodels)
        replicas.processes.gather()
        return continuation.Continuation(corpus, description, begins=True)
