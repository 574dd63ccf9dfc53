"""Evaluates a run: every speaker with the base model and with a Submodel.

`prepare(model_dir, test_manifest).run()` is the program behind
`tasks.evaluate`. Whatever can fail does so in `prepare`, before hours of
recognition.
"""

import dataclasses
import posixpath
import sys
from collections import abc
from typing import Any

import tensorflow as tf

from lingvo_like.base_models import base_model
from lingvo_like.space import file as space_file
from params import registry, schema
from tasks.asr import base_loading, layouts
from tasks.asr.data import preparation, rejections, text
from tasks.asr.evaluation import (
    compared_bases,
    comparison,
    metrics,
    recordings,
    results,
    tested_cohorts,
    tested_submodels,
)
from tasks.asr.training import (
    cohorts as cohorts_lib,
    model_directory,
    run_description,
    starting_submodels,
)
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation.

    Attributes:
        summary: of `metrics.summarize`, as `results.json` has it; None in the
            processes of a job that are not its chief.
        report: path of the page that shows them.
        output_dir: folder of all the results.
        compared_with_short: whether the base model without Submodels was a
            short-context one.
    """

    summary: dict[str, Any] | None
    report: str
    output_dir: str
    left_out: rejections.Rejections
    compared_with_short: bool


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation that is ready to run.

    Attributes:
        base: the base model of the Submodels.
        compared: the base model that they are compared with.
        train_texts: dict of speaker to the texts it trained on.
        details: what is evaluated, as the report shows it.
    """

    base: base_model.BaseModel
    compared: base_model.BaseModel
    submodels: tested_submodels.TestedSubmodels
    data: dict[int, preparation.SpeakerUtterances]
    left_out: rejections.Rejections
    train_texts: dict[str, list[str]]
    history: list[dict[str, Any]]
    space: space_file.Space | None
    text: schema.Text
    beam_size: int
    details: dict[str, Any]
    output_dir: str
    replicas: replicas_lib.Replicas
    cohorts: tested_cohorts.TestedCohorts

    def run(self) -> Evaluated:
        """Transcribes, scores and writes the results."""
        records = comparison.transcribe(
            self.base,
            self.compared,
            self.submodels,
            self.data,
            self.train_texts,
            self.beam_size,
            self.replicas,
            self.cohorts,
        )
        processes, summary = self.replicas.processes, None
        if processes.is_chief:
            summary = metrics.summarize(
                records,
                self.text.normalizer,
                self.text.target_word_error_rate,
                self.submodels.train_minutes,
                num_heard=sum(
                    each.reason == recordings.HEARD for each in self.left_out
                ),
            )
            summary["submodel_sha256"] = self.submodels.sha256
            results.write(
                self.output_dir,
                summary,
                records,
                self.history,
                self.details,
                self.left_out,
                self.space,
            )
        # A process that left before the chief has written would count as dead.
        processes.gather()
        return Evaluated(
            summary,
            posixpath.join(self.output_dir, "report.html"),
            self.output_dir,
            self.left_out,
            getattr(self.compared, "audio_context", "") == "short",
        )


def prepare(
    model_dir: str,
    test_manifest: str,
    *,
    base: str = "",
    compare_with: str = "",
    experiment: str = "",
    settings: abc.Mapping[str, Any] = {},
    speakers: abc.Sequence[str] = (),
    beam_size: int = 1,
    normalizer: str = "",
    strict: bool = False,
    output_dir: str = "",
    replicas: replicas_lib.Replicas | None = None,
) -> Evaluation:
    """Reads and checks all that an evaluation needs.

    Args:
        test_manifest: path of the JSONL manifest to recognise.
        base: path of the base model; where training found it if empty.
        compare_with: path of the Whisper to compare with, at its full audio
            context; the run's own base model if empty.
        experiment: name that the run's experiment must have, if any.
        settings: values that the run must have, by their dotted names.
        speakers: ids; all of the manifest if empty.
        normalizer: `text.AUTO` or one of `text.NORMALIZERS`; the run's own if
            empty.
        strict: refuse if any utterance is unusable.
        output_dir: folder of the results; MODEL_DIR/evaluation if empty.
        replicas: the replicas that share the work; None for one.

    Raises:
        ValueError, OSError: the run, its Submodels, the base models or the
            manifest cannot be used, or nothing can be written.
    """
    replicas = replicas or replicas_lib.Replicas()
    directory = model_directory.ModelDirectory(model_dir)
    saved, values = _read_run(directory, experiment, settings)
    normalizer = normalizer or values.text.normalizer
    # An unknown one is refused before the base model is loaded.
    text.choose(normalizer, language="")
    output_dir = output_dir or directory.evaluation
    base_path = base or saved["base"]
    base_loading.check_languages(values, base_path, [test_manifest], normalizer)
    if replicas.processes.is_chief:
        model_directory.check_writable(output_dir, "--output_dir")
        if not replicas.has_accelerators:
            passes = 3 if saved.get("cohort") else 2
            compared_bases.estimate(
                values.base, compare_with, base_path, test_manifest, passes
            )
    with replicas.scope():
        loaded = compared_bases.load(
            values, saved["base_fingerprint"], base_path, compare_with
        )
    data, left_out = recordings.read(
        loaded.base,
        test_manifest,
        speakers,
        strict,
        normalizer,
        values.data.trim_silence,
        values.default_language,
    )
    if compare_with:
        compared_bases.check_knows(loaded.compared, compare_with, data)
    submodels, cohorts = _read_submodels(
        directory, saved, values, loaded.base, data
    )
    heard = {
        speaker: own | cohorts.heard(speaker)
        for speaker, own in submodels.heard.items()
    }
    data = recordings.without_heard(data, heard, left_out)
    if strict:
        left_out.raise_if_any(f"manifest {test_manifest}")
    if replicas.processes.is_chief:
        print(left_out.describe(), file=sys.stderr, end="")
        if earlier := results.other_manifest(output_dir, test_manifest):
            print(
                f"this replaces the evaluation on {earlier} in {output_dir}; "
                "another --output_dir keeps both",
                file=sys.stderr,
            )
    _check_same(replicas, submodels, data)
    return Evaluation(
        base=loaded.base,
        compared=loaded.compared,
        submodels=submodels,
        data=data,
        left_out=left_out,
        train_texts=directory.read_texts(),
        history=_history(directory),
        space=_space(directory, saved),
        text=dataclasses.replace(values.text, normalizer=normalizer),
        beam_size=beam_size,
        details={
            "experiment": saved["experiment"],
            "base": saved["base"],
            "base_fingerprint": saved["base_fingerprint"],
            "compared_with": compare_with or saved["base"],
            "compared_fingerprint": loaded.compared_fingerprint,
            "test_manifest": test_manifest,
            "beam_size": beam_size,
            "normalizer": normalizer,
            "values_per_submodel": submodels.layout.num_values,
            "cohorts": cohorts.describe(),
        },
        output_dir=output_dir,
        replicas=replicas,
        cohorts=cohorts,
    )


def _check_same(replicas, submodels, data):
    """Refuses processes that would not evaluate the same."""
    utt_ids = [u.utt_id for each in data.values() for u in each.utterances]
    replicas.processes.check_same(
        "the Submodels and the recordings", [submodels.sha256, utt_ids]
    )


def _read_submodels(directory, saved, values, base, data):
    """The Submodels of the run and of its cohorts, checked."""
    layout = layouts.of(base.sites, values)
    submodels = tested_submodels.read(
        directory,
        [each.speaker for each in data.values()],
        saved["base_fingerprint"],
        layout,
        layout.constants(base.kernel),
    )
    cohorts = tested_cohorts.read(
        starting_submodels.of_run(directory, saved),
        data,
        saved["base_fingerprint"],
        submodels.layout,
    )
    return submodels, cohorts


def _space(directory, saved):
    """The space that the run trained; None for a run with slots."""
    if not tf.io.gfile.exists(directory.space):
        return None
    return space_file.load(directory.space, saved["base_fingerprint"])


def _history(directory):
    """The learning curves of a run's speakers and cohorts."""
    of_cohorts = model_directory.ModelDirectory(directory.cohort)
    return directory.read_history() + [
        row | {"speaker": cohorts_lib.title(row["speaker"])}
        for row in of_cohorts.read_history()
    ]


def _read_run(directory, experiment, settings):
    """The run's description and its `schema.Experiment`."""
    saved = directory.read_experiment()
    if saved is None:
        raise ValueError(
            f"{directory.experiment} is not there: no run to evaluate"
        )
    run_description.check_program(directory.path, saved, run_description.TRAIN)
    values = directory.saved_values(saved, registry.get(saved["experiment"]))
    run_description.check_request(
        directory.path, saved, values, experiment, settings
    )
    return saved, values
