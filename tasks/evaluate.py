"""Compares the base model with each speaker's Submodel on a test manifest.

    python -m tasks.evaluate --model_dir=RUN --test_manifest=test.jsonl

Prints a table and writes RUN/evaluation: results.json, hypotheses.jsonl,
left_out.txt and report.html, one self-contained page.
"""

import json

from absl import flags

from lingvo_like import hyperparams
from tasks import api, cli, devices
from tasks.asr.evaluation import table

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
    "auto, none, basic, characters, english or torgo; the run's if empty.",
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to evaluate if any utterance is unusable."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder of the results; MODEL_DIR/evaluation if empty."
)
_JSON = flags.DEFINE_bool(
    "json", False, "Print the figures of results.json and nothing else."
)


def main(_: list[str]) -> None:
    cli.require(_MODEL_DIR, _TEST_MANIFEST)
    found = api.evaluate(
        _MODEL_DIR.value,
        _TEST_MANIFEST.value,
        base=_BASE.value,
        compare_with=_COMPARE_WITH.value,
        experiment=_EXPERIMENT.value,
        settings=hyperparams.assignments(_SET.value),
        speakers=_SPEAKERS.value,
        beam_size=_BEAM_SIZE.value,
        normalizer=_NORMALIZER.value,
        strict=_STRICT.value,
        output_dir=_OUTPUT_DIR.value,
        devices=devices.given(),
    )
    if found.summary is None:
        return
    if _JSON.value:
        print(json.dumps(found.summary))
        return
    print(table.text(found.summary))
    if found.compared_with_short:
        print(
            "base is in its short-context form; --compare_with=MODEL, such as "
            "tiny.en, compares with a Whisper at its full 30 s instead"
        )
    print(
        f"report: {found.report}\n"
        "Next, to serve: python -m tasks.export "
        f"--model_dir={_MODEL_DIR.value} --export_dir=exports"
    )


if __name__ == "__main__":
    cli.run(main)
