"""Compares the base model with each speaker's Submodel on a test manifest.

    python -m tasks.evaluate --model_dir=RUN --test_manifest=test.jsonl

Prints a table and writes RUN/evaluation: results.json, hypotheses.jsonl,
left_out.txt and report.html, one self-contained page.
"""

import json
import os

from absl import flags

from params import registry
from tasks import cli, devices

flags.adopt_module_key_flags(devices)
_MODEL_DIR = flags.DEFINE_string("model_dir", "", "Folder of the run.")
_TEST_MANIFEST = flags.DEFINE_string(
    "test_manifest", "", "JSONL manifest of what to recognise."
)
_BASE = flags.DEFINE_string(
    "base", "", "The base model; where training found it, if empty."
)
_COMPARE_WITH = flags.DEFINE_string(
    "compare_with",
    "",
    "Base model for the column without Submodels, at its full audio context; "
    "the run's own base model if empty.",
)
_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Refuse if the run is of another experiment."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Refuse if the run has another value than this override."
)
_SPEAKERS = flags.DEFINE_list(
    "speakers", [], "Only these speakers; all of the manifest if empty."
)
_BEAM_SIZE = flags.DEFINE_integer(
    "beam_size", 1, "1 for greedy decoding.", lower_bound=1, upper_bound=16
)
_NORMALIZER = flags.DEFINE_string(
    "normalizer", "", "none, basic, english or torgo; the run's if empty."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to evaluate if any utterance is unusable."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Where to write; MODEL_DIR/evaluation if empty."
)


def main(_):
    for flag in (_MODEL_DIR, _TEST_MANIFEST):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    from params import schema
    from tasks.asr.bases import loading as base_loading
    from tasks.asr.data import text
    from tasks.asr.evaluation import evaluation, metrics, tested_submodels
    from tasks.asr.training import model_directory, run_description, task

    directory = model_directory.ModelDirectory(_MODEL_DIR.value)
    saved = directory.read_experiment()
    if saved is None:
        cli.fail(f"{directory.experiment} is not there: no run to evaluate")
    run_description.check_program(directory.path, saved, run_description.TRAIN)
    experiment = directory.saved_values(
        saved, registry.get(saved["experiment"])
    )
    directory.check_request(saved, experiment, _EXPERIMENT.value, _SET.value)
    normalizer = _NORMALIZER.value or experiment.text.normalizer
    text.normalize("", normalizer)
    # Whatever can fail does so before hours of recognition.
    output = _OUTPUT_DIR.value or directory.evaluation
    replicas = devices.replicas()
    if replicas.processes.is_chief:
        model_directory.check_writable(output, "--output_dir")
    history = directory.read_history()
    train_texts = directory.read_texts()
    with replicas.scope():
        base = base_loading.load(experiment.base, _BASE.value or saved["base"])
    fingerprint = base.fingerprint()
    if fingerprint != saved["base_fingerprint"]:
        cli.fail(
            f"{_BASE.value or saved['base']} is another base model "
            f"({fingerprint[:12]}) than the run's "
            f"({saved['base_fingerprint'][:12]})"
        )
    compared = base
    if _COMPARE_WITH.value:
        if not isinstance(experiment.base, schema.Whisper):
            cli.fail(
                "--compare_with names a Whisper at its full audio context; "
                f"the run's base model is a {type(experiment.base).__name__}"
            )
        with replicas.scope():
            compared = base_loading.load(
                schema.Whisper(
                    language=experiment.base.language,
                    max_tokens=experiment.base.max_tokens,
                ),
                _COMPARE_WITH.value,
            )
    data, left_out = evaluation.read_test(
        base,
        _TEST_MANIFEST.value,
        _SPEAKERS.value,
        _STRICT.value,
        normalizer,
    )
    if replicas.processes.is_chief:
        print(left_out.describe(), end="")
    submodels = tested_submodels.check(
        directory,
        [each.speaker for each in data.values()],
        fingerprint,
        task.layout_of(base, experiment.adapter),
    )
    replicas.processes.check_same(
        "the Submodels and the recordings",
        [
            submodels.sha256,
            [u.utt_id for each in data.values() for u in each.utterances],
        ],
    )
    space = evaluation.load_space(directory, fingerprint)
    records = evaluation.run(
        base,
        compared,
        submodels,
        data,
        train_texts,
        _BEAM_SIZE.value,
        replicas,
    )
    # The others have said what they recognised, and leave the rest to it; who
    # left before it has written would count as dead.
    if not replicas.processes.is_chief:
        replicas.processes.gather()
        return
    summary = metrics.summarize(
        records,
        normalizer,
        experiment.text.target_word_error_rate,
        submodels.train_minutes,
    )
    summary["submodel_sha256"] = submodels.sha256
    details = {
        "experiment": saved["experiment"],
        "base": saved["base"],
        "base_fingerprint": fingerprint,
        "compared_with": _COMPARE_WITH.value or saved["base"],
        "compared_fingerprint": compared.fingerprint(),
        "test_manifest": _TEST_MANIFEST.value,
        "beam_size": _BEAM_SIZE.value,
        "normalizer": normalizer,
        "values_per_submodel": submodels.layout.num_values,
    }
    evaluation.write(
        output, summary, records, history, details, left_out, space
    )
    print(metrics.table(summary))
    if getattr(compared, "audio_context", "") == "short":
        print(
            "base: the short-context one; --compare_with=MODEL puts a Whisper "
            "at its full 30 s in its place"
        )
    print(f"report: {os.path.join(output, 'report.html')}")
    print(
        json.dumps(
            {
                key: summary[key]
                for key in (
                    "median_relative_reduction_moderate_severe",
                    "typical_change_points",
                )
            }
        )
    )
    replicas.processes.gather()


if __name__ == "__main__":
    cli.run(main)
