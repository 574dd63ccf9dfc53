"""Compares the base model with each speaker's Submodel on a test manifest.

    python -m tasks.evaluate --model_dir=RUN --test_manifest=test.jsonl

Prints a table and writes RUN/evaluation: results.json, hypotheses.jsonl,
left_out.txt and report.html, one self-contained page.
"""

import json

from absl import flags

from tasks import cli, devices

flags.adopt_module_key_flags(devices)
_MODEL_DIR = flags.DEFINE_string("model_dir", "", "Folder of the run.")
_TEST_MANIFEST = flags.DEFINE_string(
    "test_manifest",
    "",
    "JSONL manifest of the recordings to recognise, or several with commas.",
)
_BASE = flags.DEFINE_string(
    "base", "", "The base model; where training found it if empty."
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
    "normalizer",
    "",
    "auto, none, basic, english or torgo; the run's if empty.",
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to evaluate if any utterance is unusable."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder of the results; MODEL_DIR/evaluation if empty."
)


def main(_: list[str]) -> None:
    cli.require(_MODEL_DIR, _TEST_MANIFEST)
    # Late, so that --help answers at once.
    from tasks.asr.evaluation import program, table

    replicas = devices.replicas()
    prepared = program.prepare(
        _MODEL_DIR.value,
        _TEST_MANIFEST.value,
        base=_BASE.value,
        compare_with=_COMPARE_WITH.value,
        experiment=_EXPERIMENT.value,
        overrides=_SET.value,
        speakers=_SPEAKERS.value,
        beam_size=_BEAM_SIZE.value,
        normalizer=_NORMALIZER.value,
        strict=_STRICT.value,
        output_dir=_OUTPUT_DIR.value,
        replicas=replicas,
    )
    if replicas.processes.is_chief:
        print(prepared.left_out.describe(), end="")
    summary = prepared.run()
    if summary is None:
        return
    print(table.text(summary))
    if getattr(prepared.compared, "audio_context", "") == "short":
        print(
            "base: the short-context one; --compare_with=MODEL compares with "
            "a Whisper at its full 30 s instead"
        )
    print(f"report: {prepared.report}")
    headlines = (
        "median_relative_reduction_moderate_severe",
        "typical_change_points",
    )
    print(json.dumps({name: summary[name] for name in headlines}))


if __name__ == "__main__":
    cli.run(main)
