"""Makes Submodels for new speakers from a few utterances of each.

    python -m tasks.enroll --space=RUN --manifest=new.jsonl --speaker=ann

Writes an ordinary Submodel file for each speaker to OUTPUT_DIR/submodels.
Nothing is written for a speaker who would be served worse than by the base
model, or whose recordings do not fit together: each is one line on stderr, and
an exit status of 1.

With --compare_with_space=OTHER nothing is written: it lists who would gain from
a Submodel of that space, after a basis was fitted again. Both Submodels are
made anew from these recordings; a published one is not read. OTHER has heard
the speakers that it was trained on, so their gain is marked.
"""

import json
import sys
import time

from absl import flags

from lingvo_like import hyperparams
from tasks import cli, devices, setting_flags
from tasks.asr.enrolment import plan

_STARTED = time.monotonic()

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


def main(_: list[str]) -> None:
    if setting_flags.are_to_be_listed():
        setting_flags.show(plan.Values())
        return
    cli.require(_SPACE, _MANIFEST)
    if bool(_PUBLISH.value) != bool(_TENANT.value):
        cli.fail("--publish and --tenant go together; see --help")
    values = hyperparams.replace(plan.Values(), setting_flags.given())
    # Late, so that --help and a mistyped value answer at once.
    from tasks.asr.enrolment import destination, program, report

    seconds = {"imports": round(time.monotonic() - _STARTED, 2)}
    prepared = program.prepare(
        _SPACE.value,
        _MANIFEST.value,
        dev_manifest=_DEV_MANIFEST.value,
        speakers=_SPEAKER.value,
        mode=_MODE.value,
        values=values,
        base=_BASE.value,
        replicas=devices.replicas(),
    )
    print(prepared.left_out.describe(), file=sys.stderr, end="")
    if _COMPARE_WITH_SPACE.value:
        rows = prepared.compare(_COMPARE_WITH_SPACE.value)
        if rows:
            print(report.comparison_table(rows))
            print(json.dumps(rows))
        return
    output_dir = _OUTPUT_DIR.value or prepared.output_dir
    outcome = prepared.run(
        destination.Destination(
            output_dir, _PUBLISH.value, _TENANT.value, _REPLACE.value
        ),
        _DESPITE_WARNINGS.value,
    )
    for line in outcome.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in outcome.errors:
        print(f"error: {line}", file=sys.stderr)
    if outcome.enrolled:
        print(report.table(outcome.enrolled))
    if prepared.replicas.processes.is_chief:
        seconds |= outcome.seconds
        parts = (f"{name} {each:.1f}" for name, each in seconds.items())
        print(f"{sum(seconds.values()):.1f} s: {', '.join(parts)}")
        print(json.dumps({"seconds": seconds, "speakers": outcome.rows}))
    if outcome.failure:
        cli.fail(outcome.failure)


if __name__ == "__main__":
    cli.run(main)
