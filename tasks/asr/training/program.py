"""Training the Submodels of a manifest's speakers, from first to last."""

import dataclasses
import os
import sys
from collections import abc

from lingvo_like import files
from lingvo_like.base_models import base_model
from params import schema
from tasks.asr import base_loading, layouts
from tasks.asr.data import held_out, preparation
from tasks.asr.training import (
    cohort_training,
    cohorts,
    continuation,
    job,
    model_directory,
    run_description,
    space_training,
    start_sources,
    starting_submodels,
    submodel_files,
)
from tpu.distribute import replicas as replicas_lib

# Where dev speech comes from without a dev manifest.
DEV = AUTO, NONE = "auto", "none"


def train(
    name: str,
    experiment: schema.Experiment,
    train_manifest: str,
    model_dir: str,
    *,
    base_path: str = "",
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    space_from: str = "",
    start_from: str = "",
    tenant: str = "",
    cohort: str = "",
    dev: str = AUTO,
    strict: bool = False,
    replicas: replicas_lib.Replicas | None = None,
) -> model_directory.ModelDirectory:
    """Trains a job in a folder, or continues the one that is there.

    Args:
        name: the experiment's registered name.
        experiment: with all overrides.
        model_dir: folder or bucket of the run.
        base_path: a base model's directory or preset; that of the run in
            `model_dir` if empty.
        dev_manifest: for early stopping and the best weights. If empty, a share
            of each speaker's utterances is held out for that.
        speakers: to train or continue; all if empty.
        space_from: the run that a space starts from.
        start_from: a run, a folder of Submodel files or a store, from whose
            Submodels the speakers go on who have one there. `model_dir` itself
            replaces its Submodels by what they learn of new recordings.
        tenant: whose speakers, where `start_from` is a store.
        cohort: one of `cohorts.BY`: trains a Submodel of everybody, or one for
            each value of a field of the manifest, from which the speakers
            start who have none in `start_from`. None if empty.
        dev: one of `DEV`; "none" holds nothing out.
        strict: refuse to train if any utterance is unusable.
        replicas: that share the job; None for one.

    Raises:
        ValueError: the request makes no sense, nothing can be trained, or the
            folder has another run.
        OSError: a file cannot be read or written.
        set_aside.SetAsideError: the others are done, and these speakers are
            not, since their recordings are gone or are others now.
        preemption.Stopped: SIGTERM or Ctrl-C came; the checkpoint holds
            everything.
    """
    source, holds_out = check_request(
        experiment,
        model_dir,
        dev_manifest=dev_manifest,
        speakers=speakers,
        space_from=space_from,
        start_from=start_from,
        tenant=tenant,
        cohort=cohort,
        dev=dev,
    )
    replicas = replicas or replicas_lib.Replicas()
    is_chief = replicas.processes.is_chief
    directory = model_directory.ModelDirectory(model_dir)
    with directory.open(replicas.processes):
        saved = directory.read_experiment()
        base_path = base_path or (saved or {}).get("base", "")
        base, base_path = _load_base(experiment, base_path, replicas)
        corpus = preparation.prepare(
            base,
            experiment,
            train_manifest,
            dev_manifest,
            strict,
            checks_folder=directory.path,
        )
        if is_chief:
            print(corpus.left_out.describe(), end="", file=sys.stderr)
        origin = submodel_files.Origin(
            name,
            base.fingerprint(),
            base.description() | {"num_parameters": base.count_params()},
        )
        description = run_description.describe(
            name, experiment, base_path, origin.base_fingerprint, corpus.digests
        ) | {
            "start": {"path": source.path} if source else {},
            "cohorts_by": cohort,
            "dev_speech": _dev_speech(dev_manifest, holds_out),
        }
        _check_processes(replicas, description, speakers, space_from)
        continued = continuation.of_run(
            directory, saved, description, corpus, experiment
        )
        made = job.Job(
            directory,
            base,
            experiment,
            continued,
            origin,
            replicas,
            starting_submodels.of_run(directory, saved or {}),
            _slots(speakers, continued.corpus, train_manifest),
            space_from,
        )
        made = _prepared(made, source, cohort, holds_out).run()
        if is_chief:
            _print_next(directory.path)
    made.set_aside.raise_if_any()
    return directory


def _dev_speech(dev_manifest: str, holds_out: bool) -> str:
    """The source of dev speech, as a run's description has it."""
    if dev_manifest:
        return "of a manifest"
    return "held out" if holds_out else "none"


def _print_next(folder: str) -> None:
    print(
        f"Next: python -m tasks.evaluate --model_dir={folder} "
        "--test_manifest=data/test.jsonl\n"
        "Next, to serve: python -m tasks.export "
        f"--model_dir={folder} --export_dir=exports"
    )


def _load_base(
    experiment: schema.Experiment, path: str, replicas: replicas_lib.Replicas
) -> tuple[base_model.BaseModel, str]:
    """The base model, and where other commands will find it."""
    if not path:
        raise ValueError("--base is missing: a new run needs a base model")
    if os.path.isdir(path):
        # Whatever folder they run in.
        path = os.path.abspath(path)
    with replicas.scope():
        base = base_loading.load(
            experiment.base, path, experiment.train.compute_dtype
        )
    return base, path


def _prepared(
    made: job.Job,
    source: start_sources.Source | None,
    cohort: str,
    holds_out: bool,
) -> job.Job:
    """The job with its starts and its dev speech, its cohorts trained."""
    processes, starts = made.replicas.processes, made.starts
    experiment, begins = made.experiment, made.continued.begins
    if begins and source:
        starts = starting_submodels.take(
            made.directory,
            source,
            made.continued.corpus.utterances_by_speaker(),
            made.origin.base_fingerprint,
            layouts.of(made.base.sites, experiment),
            bool(cohort),
        )
    if holds_out:
        held = held_out.hold_out(
            made.continued.corpus,
            experiment.train.dev_share,
            experiment.train.seed,
            starts.knows,
        )
        if processes.is_chief:
            print(held.describe())
        made = dataclasses.replace(
            made,
            continued=dataclasses.replace(made.continued, corpus=held.corpus),
        )
    if begins and cohort:
        cohort_training.train(made, starts, cohort, source)
    processes.check_same("the Submodels to start from", starts.to_json())
    return dataclasses.replace(made, starts=starts)


def decide_dev(
    experiment: schema.Experiment, dev_manifest: str, dev: str
) -> bool:
    """Whether dev speech is held out.

    Raises:
        ValueError: `dev` is unknown, or contradicts the manifest.
    """
    if dev not in DEV:
        raise ValueError(
            f"--dev must be one of {', '.join(DEV)}. Received: {dev!r}."
        )
    if dev == NONE and dev_manifest:
        raise ValueError(
            "--dev=none trains without dev speech, and --dev_manifest="
            f"{dev_manifest} has some; give one of both"
        )
    return dev == AUTO and not dev_manifest and experiment.train.dev_share > 0.0


def check_request(
    experiment: schema.Experiment,
    model_dir: str,
    *,
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    space_from: str = "",
    start_from: str = "",
    tenant: str = "",
    cohort: str = "",
    dev: str = AUTO,
) -> tuple[start_sources.Source | None, bool]:
    """Checks what can be checked without the base model. Arguments as `train`.

    Returns:
        the source of `start_from`, and whether dev speech is held out.

    Raises:
        ValueError: the request makes no sense.
        OSError: `start_from` cannot be read.
    """
    if speakers and experiment.train.resident_speakers:
        raise ValueError(
            "--speakers chooses some of a run, and train.resident_speakers "
            "lets all of them take turns; train them all, or set it to 0"
        )
    if experiment.train.cache_activations and not files.is_local(model_dir):
        raise ValueError(
            "train.cache_activations keeps files on a disk of this machine; "
            "name a folder with --model_dir, or set it to false"
        )
    if experiment.space.embedding_dim and start_from:
        raise ValueError(
            "--start_from is for speakers who have slots; a space goes on with "
            "--set=space.initializer=space --space_from=RUN"
        )
    space_training.check_request(experiment.space, space_from, speakers)
    if tenant and not start_from:
        raise ValueError(
            "--tenant says whose speakers of a store go on; name the store "
            "with --start_from"
        )
    if cohort:
        cohorts.check(cohort)
    holds_out = decide_dev(experiment, dev_manifest, dev)
    source = start_sources.find(start_from, tenant) if start_from else None
    return source, holds_out


def check_speakers(
    speakers: abc.Iterable[str], there: abc.Iterable[str], train_manifest: str
) -> None:
    """Refuses --speakers who are not there.

    Raises:
        ValueError: names them.
    """
    unknown = sorted(set(speakers) - set(there))
    if unknown:
        raise ValueError(
            f"--speakers names {', '.join(unknown)}, who have nothing to "
            f"train on in {train_manifest}"
        )


def _slots(speakers, corpus, train_manifest):
    """The slots of the speakers asked for; None for all."""
    there = {data.speaker for data in corpus.train.values()}
    check_speakers(speakers, there, train_manifest)
    return [corpus.speakers.index(each) for each in speakers] or None


def _check_processes(replicas, description, speakers, space_from):
    # Each machine may have the base model at a path of its own.
    given = {"base": "", "speakers": sorted(speakers), "space_from": space_from}
    replicas.processes.check_same(
        "the experiment, the base model, the recordings and the flags",
        description | given,
    )
