"""Compiles an experiment's programs for a named TPU, on a machine without one.

    python -m tasks.aot_compile --experiment=conformer.LibriSpeechL128 \\
        --topology=v5e:4x4

This compiles the training step that tasks.train runs or, with
--function=serve, what an export computes from audio to tokens. It prints what
one chip needs of memory, arithmetic and traffic and how many Submodels fit,
and at last one JSON object. The weights of the base model do not matter, so it
is not trained, unless --base names one.
"""

import json

from absl import flags

from lingvo_like import hyperparams
from params import registry
from tasks import cli, setting_flags, tables
from tpu.aot import topology

flags.adopt_module_key_flags(setting_flags)
_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Its name; tasks.train --list_experiments lists them."
)
_TOPOLOGY = flags.DEFINE_string(
    "topology", "", "A TPU by Cloud TPU's name or its compiler's: v5e:2x2."
)
_FUNCTION = flags.DEFINE_enum(
    "function", "train", ["train", "serve"], "What to compile."
)
_NUM_SUBMODELS = flags.DEFINE_integer(
    "num_submodels",
    None,
    "train: Submodels of the job; else those of a step.",
    1,
)
_NUM_TOKENS = flags.DEFINE_integer(
    "num_tokens", None, "train: of the longest transcript; else the maximum.", 1
)
_CONFIRM = flags.DEFINE_bool(
    "confirm",
    True,
    "train: find how many Submodels fit by compiling up to six more programs; "
    "else compute it.",
)
_NUM_ROWS = flags.DEFINE_integer(
    "num_rows", 16, "serve: utterances of a call.", 1
)
_BEAM_SIZE = flags.DEFINE_integer(
    "beam_size", 1, "serve: 1 for greedy decoding.", 1
)
_SECONDS = flags.DEFINE_float(
    "seconds", None, "Audio of an utterance; else the longest bucket.", 0.1
)
_BASE = flags.DEFINE_string("base", "", "A base model; else an untrained one.")
_WHISPER_SIZE = flags.DEFINE_string(
    "whisper_size", "tiny.en", "Which Whisper, if --base is empty."
)
_OF_FUNCTION = {
    "train": (_NUM_SUBMODELS, _NUM_TOKENS, _CONFIRM),
    "serve": (_NUM_ROWS, _BEAM_SIZE),
}


def main(_: list[str]) -> None:
    cli.require(_EXPERIMENT)
    experiment = registry.get(_EXPERIMENT.value)
    if setting_flags.are_to_be_listed():
        setting_flags.show(experiment)
        return
    cli.require(_TOPOLOGY)
    for function, its_flags in _OF_FUNCTION.items():
        for flag in its_flags:
            if flag.present and function != _FUNCTION.value:
                cli.fail(
                    f"--{flag.name} belongs to --function={function}. "
                    f"Received: --function={_FUNCTION.value}."
                )
    experiment = hyperparams.replace(experiment, setting_flags.given())
    target = topology.lookup(_TOPOLOGY.value)
    # Late, so that --help and a mistyped name answer at once.
    from tpu.aot import compiler

    compiler.check_installed()
    from tasks.compilation import figures as figures_lib, programs, untrained

    # An export computes in float32.
    is_serving = _FUNCTION.value == "serve"
    compute_dtype = "float32" if is_serving else experiment.train.compute_dtype
    base = untrained.load_or_make(
        experiment.base, _BASE.value, _WHISPER_SIZE.value, compute_dtype
    )
    seconds = _SECONDS.value
    num_samples = base.num_samples(seconds) if seconds else base.max_samples
    if is_serving:
        found = figures_lib.serving(
            lambda num_rows: programs.serve_program(
                base, experiment, num_rows, num_samples, _BEAM_SIZE.value
            ),
            target,
            _NUM_ROWS.value,
        )
    else:
        job = figures_lib.TrainingJob(
            base,
            experiment,
            target,
            num_samples,
            _NUM_TOKENS.value,
            _NUM_SUBMODELS.value,
        )
        found = figures_lib.training(job, _CONFIRM.value)
    print(tables.aligned(found.rows))
    figures = {
        "experiment": _EXPERIMENT.value,
        "function": _FUNCTION.value,
        "compute_dtype": compute_dtype,
        **found.figures,
    }
    print(json.dumps(figures))
    if found.problem:
        cli.fail(found.problem)


if __name__ == "__main__":
    cli.run(main)
