"""Makes Submodels for new speakers from a few utterances of each.

    python -m tasks.enroll --space=RUN --manifest=new.jsonl --speaker=ann

RUN is a folder of tasks.train with a speaker-embedding space, or its file. The
result of each speaker is an ordinary Submodel file in OUTPUT_DIR/submodels. It
is judged on --dev_manifest, or on utterances held out in turn. Who would be
served worse than by the base model gets nothing, nor does anyone whose
recordings do not fit together; each is one line on stderr, and an exit status
of 1. Many speakers are one job: leave --speaker away to enrol everybody in the
manifest.

With --compare_with_space=OTHER nothing is written: it lists who would gain by
a Submodel of that space, after a basis was fitted again. Both Submodels are
made anew from these recordings and judged alike; a published one is not read.
Whom OTHER was trained on it has heard, so their gain is marked.
"""

import json
import sys
import time

from absl import flags

from tasks import cli, devices

_STARTED = time.monotonic()

flags.adopt_module_key_flags(devices)

_SPACE = flags.DEFINE_string(
    "space", "", "A run that trained a space, or its space.safetensors."
)
_MANIFEST = flags.DEFINE_string(
    "manifest", "", "JSONL manifest of the recordings to learn from."
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest", "", "JSONL manifest to judge by; folds if empty."
)
_SPEAKER = flags.DEFINE_list(
    "speaker", [], "Whom to enrol; everybody in the manifest if empty."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "auto",
    ["auto", "zero_shot", "embedding", "full"],
    "auto takes what has the lowest error rate on held-out utterances.",
)
_BASE = flags.DEFINE_string(
    "base", "", "The base model; where the run found it, if empty."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Where to write; RUN/enrolled if empty."
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
    "Keep Submodels of recordings that do not fit together, as warned.",
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one value, such as embedding_steps=20."
)
_COMPARE_WITH_SPACE = flags.DEFINE_string(
    "compare_with_space", "", "List who would gain by that space instead."
)


def main(_):
    for flag in (_SPACE, _MANIFEST):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    if bool(_PUBLISH.value) != bool(_TENANT.value):
        cli.fail("--publish and --tenant go together; see --help")
    from lingvo_like import hyperparams
    from tasks.asr.enrolment import plan as enrolment_plan

    values = hyperparams.override(enrolment_plan.Values(), _SET.value)
    enrolment_plan.check(values)
    # Late, so that --help and a mistyped value answer at once.
    from lingvo_like.space import file as space_file
    from tasks.asr.bases import loading as base_loading
    from tasks.asr.data import inspection
    from tasks.asr.enrolment import enrol
    from tasks.asr.enrolment import experiments as enrolment_experiments
    from tasks.asr.enrolment import files as enrolment_files

    clock = _Clock("imports")
    path, base_path = enrolment_files.find_space(_SPACE.value)
    space = space_file.load(path)
    enrolment_plan.check_mode(_MODE.value, bool(space.encoder))
    destination = enrolment_files.Destination(
        _OUTPUT_DIR.value or _beside(path),
        _PUBLISH.value,
        _TENANT.value,
        _REPLACE.value,
    )
    experiment = enrolment_experiments.of_space(space)
    replicas = devices.replicas()
    processes = replicas.processes
    if processes.count > 1:
        # Each process enrols its own speakers, by itself: what it makes has
        # not the shapes of what the others make.
        replicas = replicas.of_process()
    with replicas.scope():
        base = base_loading.load(experiment.base, _BASE.value or base_path)
    clock.lap("base model")
    train, dev, left_out = enrolment_files.read_speech(
        base,
        _MANIFEST.value,
        _DEV_MANIFEST.value,
        _SPEAKER.value,
        values.min_seconds,
        experiment.data.trim_silence,
    )
    if left_out:
        print(left_out.describe(), file=sys.stderr, end="")
    if _COMPARE_WITH_SPACE.value:
        if processes.is_chief:
            _compare(space, base, train, dev, values, replicas)
        processes.gather()
        return
    processes.check_same(
        "the space, the modes and the speakers",
        [space.metadata.sha256, _MODE.value, list(train)],
    )
    destination.check(space, train)
    # Also nobody writes before all have looked what is there.
    destination.check_shared(processes)
    clock.lap("recordings")
    own = dict(list(train.items())[processes.index :: processes.count])
    results = []
    if own:
        results = enrol.enrol(
            space, base, own, dev, _MODE.value, values, replicas
        )
    clock.lap("enrolment")
    refused = _keep(space, results, values.seed, destination, clock, processes)
    # Whom --speaker names has some, or nobody is enrolled.
    lost = {
        each.utt_id
        for each in left_out
        if not _SPEAKER.value
        and each.reason == inspection.NOTHING_USABLE
        and each.where == _MANIFEST.value
    }
    if refused or lost:
        asked = len(train) + len(lost)
        nothing = "; no usable utterance of " + ", ".join(sorted(lost))
        cli.fail(
            f"enrolled {len(train) - refused} of {asked}"
            f"{nothing if lost else ''}"
        )


def _keep(space, results, seed, destination, clock, processes):
    """Writes what was enrolled; how many speakers were refused, in all."""
    from tasks.asr.enrolment import report as enrolment_report

    rows, refused = [], 0
    for each in results:
        row = each.summary()
        try:
            if not each.mode:
                raise ValueError(enrolment_report.refusal(each))
            if each.warnings and not _DESPITE_WARNINGS.value:
                raise ValueError(enrolment_report.doubt(each))
            row["path"], version = destination.write(each, space, seed)
            row["version"] = version.name if version else ""
            for warning in each.warnings:
                print(f"warning: {each.speaker}: {warning}", file=sys.stderr)
        except (ValueError, OSError) as error:
            # The others are not lost with it.
            refused += 1
            row["error"] = str(error)
            print(f"error: {error}", file=sys.stderr)
        rows.append(row)
    if results:
        print(enrolment_report.table(results))
    parts = processes.gather([rows, refused])
    refused = sum(part for _, part in parts)
    if processes.is_chief:
        rows = [row for part, _ in parts for row in part]
        destination.write_results(rows)
        clock.lap("files")
        print(clock.describe())
        print(json.dumps({"seconds": clock.seconds, "speakers": rows}))
    # Nobody leaves before it is written.
    processes.gather()
    return refused


def _compare(space, base, train, dev, values, replicas):
    from lingvo_like.space import file as space_file
    from tasks.asr.enrolment import enrol
    from tasks.asr.enrolment import files as enrolment_files
    from tasks.asr.enrolment import plan as enrolment_plan
    from tasks.asr.enrolment import report as enrolment_report

    path, _ = enrolment_files.find_space(_COMPARE_WITH_SPACE.value)
    other = space_file.load(path, space.metadata.base_fingerprint)
    enrolment_plan.check_mode(_MODE.value, bool(other.encoder))
    rows = enrolment_report.comparison(
        *(
            enrol.enrol(each, base, train, dev, _MODE.value, values, replicas)
            for each in (space, other)
        ),
        other.speakers,
    )
    print(enrolment_report.comparison_table(rows))
    print(json.dumps(rows))


def _beside(path):
    return f"{path.rpartition('/')[0] or '.'}/enrolled"


class _Clock:
    """Where the seconds since the start went."""

    def __init__(self, name):
        self._last = _STARTED
        self.seconds = {}
        self.lap(name)

    def lap(self, name):
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 2)
        self._last = now

    def describe(self):
        parts = (f"{name} {each:.1f}" for name, each in self.seconds.items())
        total = sum(self.seconds.values())
        return f"{total:.1f} s: {', '.join(parts)}"


if __name__ == "__main__":
    cli.run(main)
