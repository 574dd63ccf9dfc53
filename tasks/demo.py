"""The whole of it on simulated speech: 16 speakers, 16 Submodels, one report.

    python -m tasks.demo --output_dir=runs/demo

Each step is a command that you can run yourself; this program prints and runs
them. Whisper tiny.en is made short on simulated typical voices, 16 other
simulated speakers of four severities get their Submodels in one job, and
phrases that they never trained on are recognised by Whisper at its 30 s and
by the Submodels.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

from absl import flags

from tasks import cli

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "runs/demo", "Where everything goes; what is there is kept."
)
_BASE = flags.DEFINE_string("base", "tiny.en", "The Whisper to start from.")
_SEED = flags.DEFINE_integer("seed", 7, "Of the simulated speakers.")


# Titles, the folder that a step makes if it may be there already, and commands.
_STEPS = (
    (
        "Simulate typical voices for the base model",
        "typical_voices",
        "tasks.simulate --output_dir={output}/typical_voices --num_speakers=8 "
        "--severities=typical --utterances_per_speaker=10 --nosplit "
        "--voices=22:44 --seed={seed} --speaker_prefix=VOICE",
    ),
    (
        "Simulate 16 speakers of four severities, other voices",
        "speech",
        "tasks.simulate --output_dir={output}/speech --num_speakers=16 "
        "--utterances_per_speaker=64 --dev_utterances=4 --test_utterances=10 "
        "--voices=0:22 --seed={seed}",
    ),
    (
        "Make Whisper hear short audio",
        "short_base",
        "tasks.shorten_context --base={base} "
        "--manifest={output}/typical_voices/manifest.jsonl "
        "--output_dir={output}/short_base --set=num_steps=40",
    ),
    (
        "Train 16 Submodels in one job",
        None,
        "tasks.train --experiment=whisper.Demo --base={output}/short_base "
        "--model_dir={output}/submodels_run "
        "--train_manifest={output}/speech/train.jsonl "
        "--dev_manifest={output}/speech/dev.jsonl",
    ),
    (
        "Evaluate on unseen phrases",
        None,
        "tasks.evaluate --model_dir={output}/submodels_run "
        "--compare_with={base} --test_manifest={output}/speech/test.jsonl "
        "--output_dir={output}",
    ),
)


def steps(
    output: str, base: str, seed: int
) -> list[tuple[str, str | None, list[str]]]:
    """The demo's commands: (title, what it writes, arguments)."""
    return [
        (
            title,
            made and os.path.join(output, made),
            [
                each.format(output=output, base=base, seed=seed)
                for each in command.split()
            ],
        )
        for title, made, command in _STEPS
    ]


def _check_same(output: str, request: dict[str, object]) -> None:
    """Refuses a folder whose parts are another demo's."""
    path = pathlib.Path(output, "demo.json")
    if not path.exists():
        path.write_text(json.dumps(request), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != request:
        cli.fail(
            f"{output} holds a demo of {found}, and this one is of {request}; "
            "name another --output_dir"
        )


def _finished(command):
    """A command's exit status, once it has ended."""
    with subprocess.Popen(command) as step:
        try:
            return step.wait()
        except KeyboardInterrupt:
            # Ctrl-C is for the command too, which may have to save.
            step.wait()
            raise


def main(_: list[str]) -> None:
    output = _OUTPUT_DIR.value
    os.makedirs(output, exist_ok=True)
    _check_same(output, {"base": _BASE.value, "seed": _SEED.value})
    started = time.monotonic()
    for title, written, arguments in steps(output, _BASE.value, _SEED.value):
        print(f"\n== {title}\n$ python -m {shlex.join(arguments)}", flush=True)
        if written and os.path.isdir(written):
            print(f"{written} is there already: kept")
            continue
        begun = time.monotonic()
        code = _finished([sys.executable, "-m", *arguments])
        if code:
            cli.fail(f"the step {title!r} failed; its message is above")
        print(f"   {time.monotonic() - begun:.0f} s", flush=True)
    seconds = time.monotonic() - started
    results = pathlib.Path(output, "results.json")
    print(
        f"\nAll of it: {seconds:.0f} s\n"
        f"results: {results}\n"
        f"report:  {os.path.join(output, 'report.html')}"
    )


if __name__ == "__main__":
    cli.run(main)
