"""Makes Submodels for new speakers from a few utterances of each.

    python -m tasks.enroll --space=RUN --manifest=new.jsonl --speaker=ann

Writes an ordinary Submodel file for each speaker to OUTPUT_DIR/submodels.
A speaker whom nothing personal serves better than the Submodel of the run's
cohort, or the mean of the space, gets that. Nothing is written for a speaker
who would be served worse than by the base model, or whose recordings do not fit
together: each is one line on stderr, and an exit status of 1.

With --compare_with_space=OTHER nothing is written: it lists who would gain from
a Submodel of that space, after a basis was fitted again. Both Submodels are
made anew from these recordings; a published one is not read. OTHER has heard
the speakers that it was trained on, so their gain is marked.
"""

import json
import sys
from typing import Any

from absl import flags

from tasks import api, cli, devices, setting_flags
from tasks.asr.enrolment import plan

flags.adopt_module_key_flags(devices)
flags.adopt_module_key_flags(setting_flags)
_SPACE = flags.DEFINE_string(
    "space", "", "A run that trained a space, or its space.safetensors."
)
_MANIFEST = flags.DEFINE_string(
    "manifest",
    "",
    "JSONL manifest of the recordings to learn from, or several with commas.",
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest", "", "JSONL manifest to judge by; folds if empty."
)
_SPEAKER = flags.DEFINE_list(
    "speaker", [], "Whom to enrol; everybody in the manifest if empty."
)
_MODE = flags.DEFINE_enum(
    "mode",
    plan.AUTO,
    [plan.AUTO, *plan.MODES],
    "auto takes what has the lowest error rate on held-out utterances.",
)
_BASE = flags.DEFINE_string(
    "base", "", "The base model; where the run found it if empty."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder of the results; RUN/enrolled if empty."
)
_PUBLISH = flags.DEFINE_string(
    "publish", "", "Folder or bucket of a store to publish to."
)
_TENANT = flags.DEFINE_string("tenant", "", "publish: whose speakers.")
_REPLACE = flags.DEFINE_bool(
    "replace", False, "Enrol speakers again who have a Submodel already."
)
_DESPITE_WARNINGS = flags.DEFINE_bool(
    "despite_warnings",
    False,
    "Keep Submodels of recordings that do not fit together, and warn.",
)
_COMPARE_WITH_SPACE = flags.DEFINE_string(
    "compare_with_space", "", "List who would gain from that space instead."
)
_JSON = flags.DEFINE_bool(
    "json", False, "Print the outcome as one JSON object, and no table."
)


def main(_: list[str]) -> None:
    if setting_flags.are_to_be_listed():
        setting_flags.show(plan.Values())
        return
    cli.require(_SPACE, _MANIFEST)
    request: dict[str, Any] = {
        "space": _SPACE.value,
        "manifest": _MANIFEST.value,
        "dev_manifest": _DEV_MANIFEST.value,
        "speakers": _SPEAKER.value,
        "mode": _MODE.value,
        "base": _BASE.value,
        "settings": setting_flags.given(),
        "devices": devices.given(),
    }
    if _COMPARE_WITH_SPACE.value:
        _print_comparison(
            api.compare_spaces(
                compare_with_space=_COMPARE_WITH_SPACE.value, **request
            )
        )
        return
    outcome = api.enrol(
        output_dir=_OUTPUT_DIR.value,
        publish=_PUBLISH.value,
        tenant=_TENANT.value,
        replace=_REPLACE.value,
        despite_warnings=_DESPITE_WARNINGS.value,
        **request,
    )
    for line in outcome.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in outcome.errors:
        print(f"error: {line}", file=sys.stderr)
    if _JSON.value:
        if outcome.is_chief:
            print(json.dumps(outcome.as_json()))
    else:
        print(outcome.describe(), end="")
    if outcome.failure:
        cli.fail(outcome.failure)


def _print_comparison(rows):
    # Late, so that --help answers at once.
    from tasks.asr.enrolment import report

    if _JSON.value:
        print(json.dumps(rows))
    elif rows:
        print(report.comparison_table(rows))


if __name__ == "__main__":
    cli.run(main)
