"""The commands as functions, for notebooks and other programs.

    from tasks import api

    run = api.train(
        "train.jsonl",
        "runs/first",
        base="tiny.en",
        dev_manifest="dev.jsonl",
        settings={"train.num_steps": 100},
    )
    found = api.evaluate(run.path, "test.jsonl")
    export = api.export(run.path, "exports")
    for each in api.transcribe(
        ["a.wav"], export_dir="exports", submodel=run.submodels["ann"]
    ):
        print(each.text)

Each function does what the command of its name does, with the command's
defaults: a flag is an argument of the same name, `settings` is a dict in the
place of `--set`, and the flags for devices and for a server are values of
`tasks.machines`. What the commands print as they work is printed here too;
what they print at the end is returned. A request that makes no sense is a
ValueError, and a file that cannot be read or written an OSError, with the
command's own words.

TensorFlow is loaded by the first call, not by the import.
"""

from collections import abc
from typing import TYPE_CHECKING, Any

from lingvo_like import hyperparams, languages
from lingvo_like.store import ids
from params import registry
from tasks import machines
from tasks.asr.enrolment import plan

if TYPE_CHECKING:
    from tasks.asr.enrolment import program as enrolment_program
    from tasks.asr.evaluation import program as evaluation_program
    from tasks.asr.training import run_results
    from tasks.serving import transcribing
    from tasks.serving.exports import from_run

_NO_SETTINGS: abc.Mapping[str, Any] = {}


_ALL_DEVICES = machines.Devices()
_LOCAL_SERVER = machines.Server()


def train(
    train_manifest: str,
    model_dir: str,
    *,
    experiment: str = "",
    base: str = "",
    dev_manifest: str = "",
    settings: abc.Mapping[str, Any] = _NO_SETTINGS,
    speakers: abc.Sequence[str] = (),
    space_from: str = "",
    start_from: str = "",
    tenant: str = "",
    cohort: str = "",
    dev: str = "auto",
    strict: bool = False,
    check_memory: bool = True,
    devices: machines.Devices = _ALL_DEVICES,
) -> "run_results.Run":
    """Trains the Submodels of a manifest's speakers, in one job.

    The same call continues a run that was interrupted.

    Args:
        train_manifest: path of the JSONL manifest to train on.
        model_dir: folder of the run: a new one, or one to continue.
        experiment: its name, such as `whisper.ShortStacked`. If empty, that of
            the run, or `params.registry.DEFAULT` for a new one.
        base: the base model: a directory, a preset's name, `tiny.en` or `base`.
            That of the run in `model_dir` if empty.
        dev_manifest: for early stopping and the best weights. Without it a
            share of each speaker's utterances is held out for that.
        settings: what to change of the experiment, such as
            `{"lora.rank": 8}`.
        speakers: to train or continue; all if empty.
        space_from: the run that a space starts from.
        start_from: a run, a folder of Submodel files or a store: speakers who
            have a Submodel there go on from it. `model_dir` itself replaces
            its Submodels by what they learn of new recordings.
        tenant: whose speakers, where `start_from` is a store.
        cohort: `all` first trains a Submodel on everybody's speech, from which
            the speakers start who have none in `start_from`; `language`,
            `etiology` or `severity` one for each value of that field.
        dev: `none` holds nothing out where there is no dev manifest: every
            speaker trains all steps and keeps the last weights.
        strict: refuse to train if any utterance is unusable.
        check_memory: refuse a job that takes more memory than there is.
        devices: that share the job.

    Raises:
        ValueError: the request makes no sense, nothing can be trained, or
            `model_dir` has another run.
        OSError: a file cannot be read or written.
        tasks.asr.training.preemption.Stopped: SIGTERM or Ctrl-C came; the
            checkpoint holds everything.
    """
    if experiment:
        hyperparams.replace(registry.get(experiment), settings)
    # Late, so that a mistyped name is refused at once.
    from tasks.asr import training_start
    from tasks.asr.training import run_results

    directory = training_start.train(
        training_start.choose(model_dir, experiment, settings, base),
        train_manifest,
        model_dir,
        check_memory=check_memory,
        dev_manifest=dev_manifest,
        speakers=speakers,
        space_from=space_from,
        start_from=start_from,
        tenant=tenant,
        cohort=cohort,
        dev=dev,
        strict=strict,
        replicas=devices.replicas(),
    )
    return run_results.read(directory)


def evaluate(
    model_dir: str,
    test_manifest: str,
    *,
    base: str = "",
    compare_with: str = "",
    experiment: str = "",
    settings: abc.Mapping[str, Any] = _NO_SETTINGS,
    speakers: abc.Sequence[str] = (),
    beam_size: int = 1,
    normalizer: str = "",
    strict: bool = False,
    output_dir: str = "",
    devices: machines.Devices = _ALL_DEVICES,
) -> "evaluation_program.Evaluated":
    """Compares the base model with each speaker's Submodel.

    Args:
        model_dir: folder of the run.
        test_manifest: path of the JSONL manifest to recognise.
        base: the base model; where training found it if empty.
        compare_with: the Whisper of the column without Submodels, at its full
            audio context; the run's own base model if empty.
        experiment: name that the run's experiment must have, if any.
        settings: values that the run must have, such as `{"train.seed": 0}`.
        speakers: ids; all of the manifest if empty.
        beam_size: 1 for greedy decoding.
        normalizer: of texts, before errors are counted; the run's own if
            empty.
        strict: refuse if any utterance is unusable.
        output_dir: folder of the results; MODEL_DIR/evaluation if empty.
        devices: that share the work.

    Raises:
        ValueError, OSError: the run, its Submodels, the base models or the
            manifest cannot be used, or nothing can be written.
    """
    from tasks.asr.evaluation import program

    prepared = program.prepare(
        model_dir,
        test_manifest,
        base=base,
        compare_with=compare_with,
        experiment=experiment,
        settings=settings,
        speakers=speakers,
        beam_size=beam_size,
        normalizer=normalizer,
        strict=strict,
        output_dir=output_dir,
        replicas=devices.replicas(),
    )
    return prepared.run()


def enrol(
    space: str,
    manifest: str,
    *,
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    mode: str = plan.AUTO,
    base: str = "",
    output_dir: str = "",
    publish: str = "",
    tenant: str = "",
    replace: bool = False,
    despite_warnings: bool = False,
    settings: abc.Mapping[str, Any] = _NO_SETTINGS,
    devices: machines.Devices = _ALL_DEVICES,
) -> "enrolment_program.Outcome":
    """Makes Submodels for new speakers from a few utterances of each.

    A speaker who would be served worse than by the base model, or whose
    recordings do not fit together, gets none; the others go on. The outcome
    says so: `rows` has a dict for each speaker.

    Args:
        space: a run that trained a space, or its `space.safetensors`.
        manifest: path of the JSONL manifest to learn from.
        dev_manifest: the one to judge by; folds if empty.
        speakers: ids; everybody in the manifest if empty.
        mode: `zero_shot`, `embedding`, `full`, or `auto`, which takes what
            has the lowest error rate on held-out utterances.
        base: the base model; where the run found it if empty.
        output_dir: folder of the results; `enrolled` beside the space if empty.
        publish: folder or bucket of a store to publish to; none if empty.
        tenant: of the speakers in the store.
        replace: enrol speakers again who have a Submodel already.
        despite_warnings: keep Submodels of recordings that do not fit together.
        settings: what to change, such as `{"embedding_steps": 20}`.
        devices: that share the work.

    Raises:
        ValueError: the request makes no sense, or an id is taken.
        OSError: a file cannot be read or written.
    """
    values = hyperparams.replace(plan.Values(), settings)
    if bool(publish) != bool(tenant):
        raise ValueError("--publish and --tenant go together; see --help")
    from tasks.asr.enrolment import destination, program

    prepared = program.prepare(
        space,
        manifest,
        dev_manifest=dev_manifest,
        speakers=speakers,
        mode=mode,
        values=values,
        base=base,
        replicas=devices.replicas(),
    )
    return prepared.run(
        destination.Destination(
            output_dir or prepared.output_dir, publish, tenant, replace
        ),
        despite_warnings,
    )


def compare_spaces(
    space: str,
    manifest: str,
    compare_with_space: str,
    *,
    dev_manifest: str = "",
    speakers: abc.Sequence[str] = (),
    mode: str = plan.AUTO,
    base: str = "",
    settings: abc.Mapping[str, Any] = _NO_SETTINGS,
    devices: machines.Devices = _ALL_DEVICES,
) -> list[dict[str, Any]]:
    """Lists who would gain from a Submodel of another space; writes nothing.

    Args:
        compare_with_space: the other run that trained a space, or its file.
            The other arguments are those of `enrol`.

    Returns:
        a dict for each speaker, the largest gain first; nothing in the
        processes of a job that are not its chief.

    Raises:
        ValueError, OSError: a space, its base model or a manifest cannot be
            used.
    """
    values = hyperparams.replace(plan.Values(), settings)
    from tasks.asr.enrolment import program

    prepared = program.prepare(
        space,
        manifest,
        dev_manifest=dev_manifest,
        speakers=speakers,
        mode=mode,
        values=values,
        base=base,
        replicas=devices.replicas(),
    )
    return prepared.compare(compare_with_space)


def export(
    model_dir: str,
    export_dir: str,
    *,
    export_version: int | None = None,
    base: str = "",
    submodel: str = "",
    beam_size: int = 1,
    language: str = "",
) -> "from_run.Exported":
    """Writes the base model of a run as a SavedModel that takes Submodels.

    Args:
        model_dir: folder of the run whose Submodels are to be served.
        export_dir: folder that gets the version's folder.
        export_version: its number; the next free one if None.
        base: the base model; where training found it if empty.
        submodel: path of a Submodel to fold in, for one speaker's own model.
        beam_size: 1 for greedy decoding.
        language: code of what is written for requests that name no language
            and whose Submodel has none; the run's own if empty.

    Raises:
        ValueError: there is no run, the version exists, or base model and
            Submodel do not belong to the run.
        OSError: a file or folder cannot be read or written.
    """
    from tasks.serving.exports import from_run

    return from_run.export(
        model_dir,
        export_dir,
        export_version,
        base,
        submodel,
        beam_size,
        language,
    )


def transcribe(
    recordings: abc.Iterable[str],
    *,
    submodel_id: str = "",
    base: bool = False,
    submodel: str = "",
    export_dir: str = "",
    store: str = "",
    tenant: str = "default",
    server: machines.Server = _LOCAL_SERVER,
    in_flight: int = 16,
    language: str = "",
) -> "abc.Iterator[transcribing.Transcribed]":
    """Transcribes recordings with a speaker's Submodel, in their order.

    With `export_dir` this happens here, else a server is asked. A recording
    that cannot be transcribed has an `error`; the others go on.

    Args:
        recordings: paths of audio files, at any rate.
        submodel_id: the speaker whose Submodel to use.
        base: use the base model alone.
        submodel: with `export_dir`, the path of the Submodel's file.
        export_dir: folder that `export` wrote.
        store: with `export_dir`, the folder or bucket that has `submodel_id`.
        tenant: in the store, whose speaker it is.
        server: the one to ask.
        in_flight: recordings to send at once.
        language: code of what to write, such as "es"; the Submodel's own, or
            else the export's default, if empty.

    Raises:
        ValueError: the arguments contradict each other, or there is no such
            export or Submodel.
        OSError: a file cannot be read.
    """
    _check_whose(submodel_id, base, submodel, export_dir, store)
    try:
        language = languages.folded(language)
    except ValueError as error:
        raise ValueError(f"--language: {error}") from None

    # Apart, so that mistakes are refused before the first answer is asked for.
    def answers() -> "abc.Iterator[transcribing.Transcribed]":
        from tasks.serving import transcribing

        recogniser = (
            transcribing.open_local(
                export_dir, submodel, store, tenant, submodel_id, base
            )
            if export_dir
            else server.connect()
        )
        with recogniser:
            yield from transcribing.transcribe_files(
                recogniser,
                recordings,
                submodel_id or None,
                in_flight,
                language,
            )

    return answers()


def _check_whose(
    submodel_id: str, base: bool, submodel: str, export_dir: str, store: str
) -> None:
    """Refuses to transcribe unless one Submodel, or none, is asked for."""
    named = [each for each in (submodel_id, base, submodel) if each]
    if len(named) > 1 or not (named or export_dir):
        raise ValueError(
            "say whose Submodel to use: one of --submodel_id=SPEAKER, --base "
            "for the base model alone, and with --local also --submodel=FILE"
        )
    if export_dir and submodel_id and not store:
        raise ValueError(
            "--local --submodel_id needs --store, or use --submodel=FILE"
        )
    if submodel_id and not ids.is_valid(submodel_id):
        raise ValueError(
            f"--submodel_id {ids.RULE}; if --map_ids changed the speaker's id, "
            f"its table has the new one. Received: {submodel_id!r}."
        )
